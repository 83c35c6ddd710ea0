"""`uninstrument` leaves the SDK as it was: providers, tracers, processors, exporters, encoders, exits and forks."""

from __future__ import annotations

import importlib
import multiprocessing.util
import sys

import pytest
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otjobs
from otjobs import config, threads, tracing
from otjobs.integrations.celery import CeleryInstrumentor
from otjobs.sdk import careful_encoder, child_exits, fast_encoder, isolated, lifecycle, patches

CHANGING = frozenset({"_queue", "_tracers", "_worker_awaken", "_worker_thread"})
"""What works on, whoever uses it: what waits, the thread that is woken, the tracers that were asked for."""


def fields(thing):
    return {name: value for name, value in vars(thing).items() if name not in CHANGING}


def changed_things(provider, exporters):
    """Return all that otjobs changes and that can be looked at, by name."""
    multi = provider._active_span_processor
    http, grpc = multi._span_processors
    return {
        "provider": provider,
        "multi": multi,
        "processor": http,
        "other processor": grpc,
        "batch": http._batch_processor,
        "other batch": grpc._batch_processor,
        "http": exporters[0],
        "grpc": exporters[1],
        **{
            name: sys.modules[name] for name in (*careful_encoder.EXPORTERS, fast_encoder.MODULE) if name in sys.modules
        },
    }


def everything(things):
    """Return the fields of these things, what runs at exit and what runs in multiprocessing's children."""
    found = {name: fields(thing) for name, thing in things.items()}
    found["exit"] = dict.fromkeys(lifecycle.atexit.registered, True)
    found["children"] = {"count": len(list(multiprocessing.util._afterfork_registry.values()))}
    return found


def differences(before, after):
    assert before.keys() == after.keys()
    return {
        f"{thing}: {name}"
        for thing, had in before.items()
        for name in had.keys() | after[thing].keys()
        if had.get(name, "absent") != after[thing].get(name, "absent")
    }


class Exits:
    """In place of the module `atexit`, which does not tell what is registered."""

    def __init__(self):
        self.registered = []

    def register(self, function):
        self.registered.append(function)

    def unregister(self, function):
        self.registered = [one for one in self.registered if one != function]


@pytest.fixture
def provided(monkeypatch):
    """A provider with exporters over HTTP and gRPC, in a process where nothing of otjobs is in place."""
    importlib.import_module(fast_encoder.MODULE)
    config.settings.cache_clear()
    tracing.restore()
    monkeypatch.setattr(lifecycle, "atexit", Exits())
    provider, exporters = (
        TracerProvider(shutdown_on_exit=False),
        [HttpExporter("http://127.0.0.1:9/v1/traces"), GrpcExporter("http://127.0.0.1:9")],
    )
    for exporter in exporters:
        provider.add_span_processor(BatchSpanProcessor(exporter))
    yield provider, exporters
    CeleryInstrumentor().uninstrument()
    tracing.use_tracer_provider(None)
    tracing.restore()
    for exporter in exporters:
        exporter.shutdown()
    provider.shutdown()


def instrument(provider):
    CeleryInstrumentor().instrument(tracer_provider=provider, skip_dep_check=True)
    tracing.prepare_to_fork()


def test_uninstrument_leaves_everything_as_it_was(provided):
    provider, exporters = provided
    things = changed_things(provider, exporters)
    before = everything(things)
    instrument(provider)
    between = everything(things)
    CeleryInstrumentor().uninstrument()
    for name in ("_channel", "_client"):  # the connection is a new one
        assert getattr(exporters[1], name) is not None
        setattr(exporters[1], name, before["grpc"][name])
    assert differences(before, everything(things)) == set()
    # And these were changed, so that the comparison means something.
    http, grpc = (f"opentelemetry.exporter.otlp.proto.{one}.trace_exporter" for one in ("http", "grpc"))
    json = {f"{name}: encode_spans" for name in things if ".json." in name}
    assert differences(before, between) - json == {
        "provider: _otjobs_patches",
        "multi: _span_processors",
        "processor: on_end",
        "other processor: on_end",
        "batch: _schedule_delay",
        "other batch: _schedule_delay",
        "http: export",
        "grpc: export",
        "grpc: _export",
        "grpc: _channel",
        "grpc: _client",
        f"{http}: encode_spans",
        f"{grpc}: encode_spans",
        f"{fast_encoder.MODULE}: {fast_encoder.PART}",
        f"exit: {lifecycle.finish}",
        "children: count",
    }


def test_a_tracer_that_the_sdk_gives_again_has_its_processors_back(provided):
    provider, _ = provided
    instrument(provider)
    made = tracing.tracer()
    assert type(made.span_processor) is isolated.Isolated
    CeleryInstrumentor().uninstrument()
    assert made.span_processor is provider._active_span_processor
    again = provider.get_tracer(tracing.SCOPE, otjobs.__version__, schema_url=tracing.SCHEMA_URL)
    assert again.span_processor is provider._active_span_processor


def test_in_a_green_process_the_grpc_client_is_given_back(provided, monkeypatch):
    provider, (_, exporter) = provided
    stub, client = exporter._stub, exporter._client
    export = client.Export
    monkeypatch.setattr(threads, "green", lambda: "gevent")
    CeleryInstrumentor().instrument(tracer_provider=provider, skip_dep_check=True)
    assert exporter._stub is not stub
    assert client.Export is not export
    CeleryInstrumentor().uninstrument()
    assert (exporter._stub, exporter._client) == (stub, client)
    assert client.Export is export


def test_what_somebody_put_over_ours_stays(provided):
    provider, (exporter, _) = provided
    instrument(provider)
    below = exporter.export
    exporter.export = theirs = lambda spans: below(spans)  # noqa: PLW0108
    CeleryInstrumentor().uninstrument()
    assert exporter.export is theirs


def test_other_integrations_keep_what_one_gives_up(provided):
    provider, (exporter, _) = provided
    instrument(provider)
    tracing.hold("another")
    ours = exporter.export
    CeleryInstrumentor().uninstrument()
    assert exporter.export is ours
    tracing.release("another")
    assert "export" not in vars(exporter)


def test_jobs_after_that_are_traced_again(provided):
    provider, _ = provided
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrument(provider)
    CeleryInstrumentor().uninstrument()
    tracing.use_tracer_provider(provider)
    with otjobs.dispatching("a"):
        pass
    assert [span.name for span in exporter.get_finished_spans()] == ["dispatch a"]
    assert type(tracing.tracer().span_processor) is isolated.Isolated


def test_an_exporter_that_is_imported_after_that_is_left_alone(provided):
    instrument(provided[0])
    CeleryInstrumentor().uninstrument()
    module = type(sys)("opentelemetry.exporter.otlp.json.http.trace_exporter")
    module.encode_spans = encode = object()
    careful_encoder._replace(module)  # what its import calls
    assert module.encode_spans is encode


def test_children_that_end_after_that_call_nothing(provided):
    instrument(provided[0])
    assert child_exits._anchors
    CeleryInstrumentor().uninstrument()
    assert (child_exits._anchors, child_exits._at_end) == ({}, None)


def test_a_fault_while_one_thing_is_taken_back_leaves_nothing_else_in_place(caplog):
    class Odd:
        a = 1

    one, several = Odd(), patches.Patches()
    several.replace(one, "a", 2)
    several.on_undo(lambda: 1 / 0)
    several.undo()
    assert one.a == 1
    assert "could not be taken back" in caplog.text


def test_a_flush_without_any_tracer_flushes_the_global_provider(provided, monkeypatch):
    asked = []
    monkeypatch.setattr(
        trace, "get_tracer_provider", lambda: type("P", (), {"force_flush": lambda _, ms: asked.append(ms) or True})()
    )
    assert otjobs.flush(2.0)
    assert asked == [2000]
