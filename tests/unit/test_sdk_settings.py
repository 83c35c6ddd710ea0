"""The settings of the OpenTelemetry SDK hold for jobs, too, and no setting costs a job its identity."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import pytest
from opentelemetry import baggage, propagate, trace
from opentelemetry import context as otel_context
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import TextMapPropagator, default_getter, default_setter
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

import otjobs
from otjobs import attributes as a
from otjobs import errors, tracing
from otjobs.carrier import decode
from otjobs.testing import capture_jobs


# Each in a process of its own: the SDK reads these variables when it is imported ------------------------------------
def in_a_process(script, **variables):
    """Return what the script prints as JSON, and what it logs."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    text = textwrap.dedent(
        """
        import json, logging, os
        logging.basicConfig(format="%(name)s %(message)s")
        from opentelemetry import baggage, context, trace
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
        exporter, provider = InMemorySpanExporter(), TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        trace.set_tracer_provider(provider)
        import otjobs
        from otjobs import errors
        context.attach(baggage.set_baggage("secret", "s3"))
        """
    ) + textwrap.dedent(script)
    run = subprocess.run(
        [sys.executable, "-c", text],
        env={**clean, **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return json.loads(run.stdout), run.stderr


@pytest.mark.parametrize(
    ("propagators", "travels"),
    [(None, True), ("tracecontext,baggage", True), ("baggage", True), ("tracecontext", False), ("none", False)],
)
def test_baggage_travels_where_the_propagators_have_it(propagators, travels):
    found, _ = in_a_process(
        """
        with otjobs.dispatching("a") as d: pass
        carrier = {**d.carrier, "baggage": "secret=s3"}
        with otjobs.executing(carrier) as run:
            read = baggage.get_baggage("secret")
            again = run.retry()
        print(json.dumps([d.carrier, again, read, [s.name for s in exporter.get_finished_spans()]]))
        """,
        **({} if propagators is None else {"OTEL_PROPAGATORS": propagators}),
    )
    carrier, again, read, names = found
    assert ("baggage" in carrier, "baggage" in again, read is not None) == (travels, travels, travels)
    assert "s3" not in json.dumps({key: value for key, value in carrier.items() if key != "baggage"})
    assert "traceparent" in carrier  # which is what links the job
    assert names == ["dispatch a", "execute a"]


def test_a_disabled_sdk_puts_nothing_into_a_payload_and_warns_of_nothing():
    found, log = in_a_process(
        """
        with otjobs.composite("group", roots=1), otjobs.dispatching("a", job_id="1", labels={"x": "y"}) as d: pass
        with otjobs.executing(d.carrier, job_type="a", job_id="1") as run, otjobs.dispatching("child") as child:
            d.rename("2")
        known = otjobs.current_execution() is None and run.job_id == "1"
        again = run.retry(delay_seconds=1)
        ended = otjobs.ended(d.carrier, "lost")
        flushed = otjobs.flush()
        made = [d.carrier, child.carrier, again, ended]
        print(json.dumps([made, known, d.job_id, flushed, errors.fault_counts(), len(exporter.get_finished_spans())]))
        """,
        OTEL_SDK_DISABLED="true",
    )
    assert found == [[{}, {}, {}, {}], True, "2", True, {}, 0]
    assert log == ""


def test_a_disabled_worker_hands_on_what_an_enabled_producer_wrote():
    with capture_jobs(), otjobs.dispatching("a", job_id="7") as d:
        pass
    (again, counts), _ = in_a_process(
        f"""
        with otjobs.executing({d.carrier!r}) as run: again = run.retry()
        print(json.dumps([again, errors.fault_counts()]))
        """,
        OTEL_SDK_DISABLED="true",
    )
    assert {key: again[key] for key in ("traceparent", "id", "type", "enqueued_at")} == {
        key: d.carrier[key] for key in ("traceparent", "id", "type", "enqueued_at")
    }
    assert (again["attempt"], counts) == ("2", {})
    assert "previous" not in again  # there was no span


SCRIPT = """
with otjobs.dispatching("type-of-the-job", queue="the-queue", job_id="0123456789-0123456789", labels={"tenant": "acme-and-sons"}) as d:
    trace.get_current_span().set_attributes({f"users.{n}": "u" * 20 for n in range(200)})
with otjobs.executing(d.carrier) as run:
    for n in range(200): trace.get_current_span().set_attribute(f"users.{n}", "u" * 20)
    with otjobs.dispatching("child", job_id="c"): pass
spans = {s.name: dict(s.attributes) for s in exporter.get_finished_spans()}
print(json.dumps([spans, errors.fault_counts()]))
"""


@pytest.mark.parametrize(
    ("variable", "value", "users", "length"),
    [
        ("OTEL_ATTRIBUTE_COUNT_LIMIT", 12, 12, 20),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", 1, 1, 20),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", 0, 0, 20),
        ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", 5, 128, 5),
        ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", 1, 128, 1),
        (None, None, 128, 20),
    ],
)
def test_limits_on_attributes_bind_the_applications_alone(variable, value, users, length):
    (spans, faults), log = in_a_process(SCRIPT, **({} if variable is None else {variable: str(value)}))
    plain, _ = in_a_process(SCRIPT, OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT="100000")
    for name in ("dispatch type-of-the-job", "execute type-of-the-job"):
        ours = {key: value for key, value in spans[name].items() if not key.startswith("users.")}
        assert ours.keys() == {key for key in plain[0][name] if not key.startswith("users.")}
        assert (ours[a.JOB_ID], ours[a.QUEUE]) == ("0123456789-0123456789", "the-queue")
        assert ours["otjobs.label.tenant"] == "acme-and-sons"
        theirs = {key: value for key, value in spans[name].items() if key.startswith("users.")}
        assert list(theirs) == [f"users.{n}" for n in range(200 - users, 200)]
        assert set(map(len, theirs.values())) <= {length}
    assert spans["execute type-of-the-job"][a.DISPATCHED] == 1
    # One counted warning names the variable.
    assert len(faults) == (variable is not None)
    assert [line.count(f"{variable} is {value}") for line in log.splitlines() if "otjobs" in line] == [1] * len(faults)


# Propagators of the application ----------------------------------------------------------------------------------------
KEY = otel_context.create_key("tenant")


class Tenant(TextMapPropagator):
    """An application's own: a value of its context in a header."""

    def extract(self, carrier, context=None, getter=default_getter):
        found = getter.get(carrier, "x-tenant")
        return otel_context.set_value(KEY, found[0], context) if found else context

    def inject(self, carrier, context=None, setter=default_setter):
        setter.set(carrier, "x-tenant", str(otel_context.get_value(KEY, context)))
        span = trace.get_current_span(context).get_span_context()
        setter.set(carrier, "x-trace", f"{span.trace_id:x}/{span.span_id:x}")

    @property
    def fields(self):
        return {"x-tenant", "x-trace"}


class Raising(TextMapPropagator):
    def extract(self, carrier, context=None, getter=default_getter):
        raise RuntimeError("extract")

    inject = extract
    fields = property(extract)


class Odd(Tenant):
    def inject(self, carrier, context=None, setter=default_setter):
        carrier.update({"large": "x" * 100_000, "number": 5, 7: "x", "text": "a\\ud800", "id": "not the job's"})


@pytest.fixture
def propagators():
    before = propagate.get_global_textmap()
    yield propagate.set_global_textmap
    propagate.set_global_textmap(before)


def test_the_applications_own_propagator_reads_and_writes_jobs(propagators):
    propagators(CompositePropagator([Tenant(), CompositePropagator([TraceContextTextMapPropagator()])]))
    token = otel_context.attach(otel_context.set_value(KEY, "acme", baggage.set_baggage("secret", "s3")))
    with capture_jobs() as captured:
        with otjobs.dispatching("a") as d:
            pass
        otel_context.detach(token)
        own = d.span.get_span_context()
        assert d.carrier["x-tenant"] == "acme"
        assert d.carrier["x-trace"] == f"{own.trace_id:x}/{own.span_id:x}"
        assert "baggage" not in d.carrier
        with otjobs.executing(d.carrier) as run:
            assert otel_context.get_value(KEY) == "acme"
            assert trace.get_current_span() is run.span
            again = run.retry()
        assert again["x-tenant"] == "acme"
        assert captured.tree() == "dispatch a\n  execute a"


def test_a_foreign_trace_that_only_a_propagator_can_read_goes_on(propagators):
    class Foreign(Tenant):
        def extract(self, carrier, context=None, getter=default_getter):
            found = getter.get(carrier, "x-trace")
            if not found:
                return context
            trace_id, span_id = (int(part, 16) for part in found[0].split("/"))
            above = trace.SpanContext(trace_id, span_id, is_remote=True, trace_flags=trace.TraceFlags(1))
            return trace.set_span_in_context(trace.NonRecordingSpan(above), context)

    propagators(Foreign())
    with capture_jobs() as captured, otjobs.executing({"x-trace": "ab/cd"}, job_type="a"):
        pass
    (span,) = captured.executions
    assert (span.context.trace_id, span.parent.span_id) == (0xAB, 0xCD)


@pytest.mark.parametrize("kind", [Raising, Odd])
def test_a_propagator_that_fails_costs_a_counted_warning(propagators, kind):
    propagators(CompositePropagator([kind(), W3CBaggagePropagator()]))
    before = sum(errors.fault_counts().values())
    with capture_jobs() as captured:
        with otjobs.dispatching("a", job_id="1") as d, otjobs.executing(d.carrier):
            pass
        assert len(captured.spans) == 2
    assert (d.carrier["id"], decode(d.carrier).job_id) == ("1", "1")
    assert not {"large", "number", 7} & d.carrier.keys()
    assert sum(errors.fault_counts().values()) > before


# What the application hangs into the SDK --------------------------------------------------------------------------------
class Broken(SpanProcessor):
    def __init__(self, where):
        self._where = where

    def on_start(self, span, parent_context=None):
        if self._where == "on_start":
            raise RuntimeError("on_start")

    def _on_ending(self, span):
        if self._where == "_on_ending":
            raise RuntimeError("_on_ending")

    def on_end(self, span):
        if self._where == "on_end":
            raise RuntimeError("on_end")


class BrokenSampler(Sampler):
    def should_sample(self, *_, **__):
        raise RuntimeError("sampler")

    def get_description(self):
        return "broken"


class BrokenIds(RandomIdGenerator):
    def generate_span_id(self):
        raise RuntimeError("ids")


class OlderIds(IdGenerator):
    """Without what newer SDKs ask for, so that the SDK makes the spans."""

    _ids = RandomIdGenerator()

    def generate_span_id(self):
        return self._ids.generate_span_id()

    def generate_trace_id(self):
        return self._ids.generate_trace_id()


@pytest.fixture
def provider():
    made = []

    def make(*processors, **more):
        made.append(TracerProvider(**more))
        exporter = InMemorySpanExporter()
        for one in (*processors, SimpleSpanProcessor(exporter)):
            made[0].add_span_processor(one)
        tracing.use_tracer_provider(made[0])
        return exporter

    yield make
    tracing.use_tracer_provider(None)
    for one in made:
        one.shutdown()


def a_job_and_its_child():
    with otjobs.composite("group", roots=1), otjobs.dispatching("a", job_id="1") as d:
        pass
    with otjobs.executing(d.carrier), otjobs.dispatching("child"):
        pass
    otjobs.ended(d.carrier, "failure")


@pytest.mark.parametrize("ids", [RandomIdGenerator, OlderIds])
@pytest.mark.parametrize("where", ["on_start", "_on_ending", "on_end"])
def test_a_processor_that_raises_costs_neither_the_job_nor_its_span(provider, where, ids):
    exporter = provider(Broken(where), id_generator=ids())
    a_job_and_its_child()
    names = [s.name for s in exporter.get_finished_spans()]
    assert names == ["dispatch a", "dispatch group", "dispatch child", "execute a", "execute a"]


@pytest.mark.parametrize("more", [{"sampler": BrokenSampler()}, {"id_generator": BrokenIds()}])
def test_a_sampler_or_id_generator_that_raises_costs_the_spans_alone(provider, more):
    exporter = provider(**more)
    before = sum(errors.fault_counts().values())
    a_job_and_its_child()
    assert exporter.get_finished_spans() == ()
    assert sum(errors.fault_counts().values()) >= before + 4


def test_limits_hold_on_spans_that_the_sdk_makes(provider):
    exporter = provider(id_generator=OlderIds(), sampler=ALWAYS_ON, span_limits=SpanLimits(max_span_attributes=3))
    with otjobs.dispatching("a", job_id="1" * 40, queue="q", labels={"x": "y"}) as d:
        trace.get_current_span().set_attributes({f"users.{n}": n for n in range(9)})
    with otjobs.executing(d.carrier):
        pass
    dispatch, run = exporter.get_finished_spans()
    assert [key for key in dispatch.attributes if key.startswith("users.")] == ["users.6", "users.7", "users.8"]
    for span in (dispatch, run):
        assert (span.attributes[a.JOB_ID], span.attributes[a.QUEUE], span.attributes["otjobs.label.x"]) == ("1" * 40, "q", "y")  # fmt: skip
    assert run.attributes[a.OUTCOME] == "success"
