"""What is written directly is what the SDK's encoder would have written, and whatever cannot be is left to it."""

from __future__ import annotations

import pickle
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from google.protobuf import json_format
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.common._internal import trace_encoder
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from otjobs.sdk import fast_encoder, fast_spans

light_only = pytest.mark.skipif(
    not fast_spans.usable(TracerProvider().get_tracer("otjobs")),
    reason="this OpenTelemetry SDK is older than light spans",
)

REMOTE = SpanContext(0xA1, 0xB2, is_remote=True, trace_flags=TraceFlags(1))
WITH_STATE = SpanContext(0xA1, 0xB3, is_remote=True, trace_flags=TraceFlags(1), trace_state=TraceState([("k", "v")]))


@pytest.fixture
def exporter():
    return InMemorySpanExporter()


@pytest.fixture
def tracer(exporter):
    provider = TracerProvider(resource=Resource({"service.name": "shop"}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider.get_tracer("otjobs", "1", schema_url="https://example.com/1")


def _span(tracer, name="execute x", *, context=None, kind=SpanKind.CONSUMER, attributes=None, links=()):
    return fast_spans.start_span(
        tracer, name, context=context or Context(), kind=kind, attributes=attributes or {"a": "b"},
        links=[Link(link) for link in links], start_time=1_000_000_000,
    )  # fmt: skip


def _under(context):
    return trace.set_span_in_context(trace.NonRecordingSpan(context), Context())


def _spans_of(request):
    """Return every span by its id, with the resource and scope it came under, each of which is there once."""
    envelopes = [
        (resource.resource.SerializeToString(), scope.scope.SerializeToString(), scope.schema_url)
        for resource in request.resource_spans
        for scope in resource.scope_spans
    ]
    assert len(envelopes) == len(set(envelopes))
    return {
        span.span_id: (span, resource.resource, resource.schema_url, scope.scope, scope.schema_url)
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    }


@pytest.fixture(autouse=True)
def untouched():
    """The SDK's encoder as the SDK made it, whatever other tests in this process have traced."""
    fast_encoder.uninstall()
    yield
    fast_encoder.uninstall()


def _assert_same(spans, *, directly):
    """Compare what is made of spans with what the SDK makes of them; so many of them are written directly."""
    expected = _spans_of(encode_spans(spans))
    encoder = fast_encoder.Encoder(trace_encoder._encode_resource_spans)
    _, others = encoder.written(spans)
    assert len(spans) - len(others) == directly
    found = ExportTraceServiceRequest(resource_spans=encoder(spans))
    assert _spans_of(ExportTraceServiceRequest.FromString(found.SerializePartialToString())) == expected
    assert len(expected) == len(spans)


VALUES = ["", "ä€😀", "x" * 5_000, 0, 1, 127, 128, -1, (1 << 63) - 1, -(1 << 63), 0.0, -0.0, 1e300, float("inf"), True, False]  # fmt: skip


@light_only
def test_plain_spans_of_all_shapes(tracer, exporter):
    chance = random.Random(7)
    for number in range(200):
        attributes = {f"key.{i}": chance.choice(VALUES) for i in range(chance.randrange(1, 20))}
        context = chance.choice([Context(), _under(REMOTE)])
        links = [REMOTE] * chance.randrange(4)
        span = _span(
            tracer,
            f"ä {number}",
            context=context,
            kind=chance.choice(list(SpanKind)),
            attributes=attributes,
            links=links,
        )
        child = _span(tracer, "child", context=trace.set_span_in_context(span, Context()))
        child.set_attributes({"late": chance.choice(VALUES)})
        child.end(1_000_000_000 + number)
        span.end(2_000_000_000)
    _assert_same(exporter.get_finished_spans(), directly=400)


@light_only
def test_equal_values_of_different_types_stay_apart(tracer, exporter):
    for _ in range(4):
        for value in (1, 1.0, True, 0, False, 0.0):
            _span(tracer, attributes={"v": value}).end()
    _assert_same(exporter.get_finished_spans(), directly=24)


@light_only
def test_texts_of_all_lengths_around_the_limits_of_one_byte(tracer, exporter):
    for length in (*range(80, 135), 255, 256, 257, 16_383, 16_384):
        _span(tracer, name="n" * length, attributes={"k" * length: "v" * length, "an.id": "v" * length}).end()
    _assert_same(exporter.get_finished_spans(), directly=60)


@light_only
def test_numbers_of_all_sizes(tracer, exporter):
    for bits in range(64):
        for value in ((1 << bits) - 1, -(1 << bits)):
            _span(tracer, attributes={"n": value}).end()
    _assert_same(exporter.get_finished_spans(), directly=128)


@light_only
def test_what_is_remembered_has_a_limit(tracer, exporter, monkeypatch):
    monkeypatch.setattr(fast_encoder, "_REMEMBERED", 10)
    encoder = fast_encoder.Encoder(trace_encoder._encode_resource_spans)
    for number in range(100):
        _span(tracer, attributes={f"k{number}": f"v{number}", f"n{number}": 1, f"f{number}": 0.5}).end()
    encoder(exporter.get_finished_spans())
    sizes = {name: len(found) for name, found in vars(encoder._writer).items()}
    assert max(sizes.values()) <= 10
    assert min(sizes.values()) >= 1


@light_only
def test_an_id_is_not_remembered(tracer, exporter):
    encoder = fast_encoder.Encoder(trace_encoder._encode_resource_spans)
    for number in range(10):
        _span(tracer, attributes={"messaging.message.id": f"{number}", "q": "orders"}).end()
    encoder(exporter.get_finished_spans())
    assert set(encoder._writer._texts) == {("q", "orders")}


@light_only
def test_spans_that_are_not_plain_go_the_sdks_way_beside_the_others(tracer, exporter):
    for _ in range(10):
        _span(tracer).end()
    failed = _span(tracer)
    failed.set_status(Status(StatusCode.ERROR, "bad"))
    failed.add_event("exception", {"exception.type": "E"})
    failed.end()
    odd = _span(tracer)
    odd.set_attribute("list", ["a", "b"])
    odd.set_attribute("mixed", ["a", 1])  # which older SDKs leave out
    odd.set_attribute("bytes", b"\xff")
    odd.end()
    _span(tracer, context=_under(WITH_STATE)).end()
    linked = _span(tracer)
    linked.add_link(REMOTE, {"l": 1})
    linked.end()
    tracer.start_span("the SDK's own", attributes={"x": 1}).end()
    _assert_same(exporter.get_finished_spans(), directly=10)


@light_only
def test_spans_of_several_resources(tracer, exporter):
    other = TracerProvider(resource=Resource({"service.name": "other"}))
    other.add_span_processor(SimpleSpanProcessor(exporter))
    for _ in range(5):
        _span(tracer).end()
        _span(other.get_tracer("otjobs", "2")).end()
    _assert_same(exporter.get_finished_spans(), directly=10)


@light_only
def test_small_batches_and_foreign_spans_are_the_sdks(tracer, exporter):
    for number in range(20):
        tracer.start_span(f"foreign {number}").end()
    _span(tracer).end()
    _assert_same(exporter.get_finished_spans(), directly=0)
    _assert_same(exporter.get_finished_spans()[-1:], directly=0)


@light_only
def test_a_span_that_cannot_be_written_is_left_to_the_sdk_alone(tracer, exporter):
    for number in range(12):
        _span(tracer, attributes={"n": 1 << 70 if number == 5 else number, "s": "ok"}).end()
    encoder = fast_encoder.Encoder(trace_encoder._encode_resource_spans)
    found = _spans_of(ExportTraceServiceRequest(resource_spans=encoder(exporter.get_finished_spans())))
    assert len(encoder.written(exporter.get_finished_spans())[1]) == 1
    assert len(found) == 12
    assert sorted(len(span.attributes) for span, *_ in found.values()) == [1] + [2] * 11  # that number has no encoding


class Redacted(ReadableSpan):
    """What a redacting exporter makes of a span: it holds the original, and shows less."""

    def __init__(self, span):
        self.__dict__.update(vars(span))

    @property
    def attributes(self):
        return {"a": "***"}


@light_only
def test_a_class_of_somebody_elses_is_asked_what_it_shows(tracer, exporter):
    for _ in range(12):
        _span(tracer, attributes={"a": "secret"}).end()
    _assert_same([Redacted(span) for span in exporter.get_finished_spans()], directly=0)


@light_only
def test_whoever_calls_the_sdks_encoder_gets_its_message(tracer, exporter):
    for number in range(20):
        _span(tracer, attributes={"n": number}).end()
    spans = exporter.get_finished_spans()
    expected = encode_spans(spans)
    fast_encoder.install()
    assert fast_encoder.is_installed()
    made = encode_spans(spans)  # by the name that this module took from the SDK before
    assert type(made) is ExportTraceServiceRequest
    assert made == expected
    assert made.ByteSize() == expected.ByteSize()
    assert [span.name for span in made.resource_spans[0].scope_spans[0].spans] == ["execute x"] * 20
    copied = ExportTraceServiceRequest()
    copied.CopyFrom(made)
    assert copied.SerializeToString(deterministic=True) == expected.SerializeToString(deterministic=True)
    assert json_format.MessageToDict(made) == json_format.MessageToDict(expected)
    assert pickle.loads(pickle.dumps(made)) == expected


@pytest.fixture
def receiver():
    """A gRPC server that keeps the requests it gets, and its address."""
    requests = []

    class Export(grpc.GenericRpcHandler):
        def service(self, _):
            def export(request, _):
                requests.append(ExportTraceServiceRequest.FromString(request))
                return b""

            return grpc.unary_unary_rpc_method_handler(export)

    server = grpc.server(ThreadPoolExecutor(1), handlers=(Export(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}", requests
    server.stop(0).wait()


@light_only
def test_the_exporter_over_grpc_sends_what_is_written_directly(tracer, exporter, receiver, monkeypatch):
    for number in range(20):
        _span(tracer, attributes={"n": number}).end()
    spans = exporter.get_finished_spans()
    expected = _spans_of(encode_spans(spans))
    fast_encoder.install()
    written = []
    write = fast_encoder._Writer.span
    monkeypatch.setattr(fast_encoder._Writer, "span", lambda *args: written.append(1) or write(*args))
    address, requests = receiver
    over_grpc = OTLPSpanExporter(address, insecure=True)
    assert over_grpc.export(spans) is SpanExportResult.SUCCESS
    over_grpc.shutdown()
    assert [_spans_of(request) for request in requests] == [expected]
    assert len(written) == 20


@light_only
def test_it_is_put_in_place_once_and_taken_away():
    original = trace_encoder._encode_resource_spans
    fast_encoder.install()
    placed = trace_encoder._encode_resource_spans
    assert isinstance(placed, fast_encoder.Encoder)
    assert placed.original is original
    fast_encoder.install()
    assert trace_encoder._encode_resource_spans is placed
    fast_encoder.uninstall()
    assert trace_encoder._encode_resource_spans is original
    assert not fast_encoder.is_installed()


def test_an_sdk_that_writes_something_else_is_left_alone(monkeypatch):
    original = trace_encoder._encode_resource_spans

    def newer(spans):
        made = original(spans)
        for resource in made:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    span.flags |= 0x400
        return made

    monkeypatch.setattr(trace_encoder, "_encode_resource_spans", newer)
    fast_encoder.install()
    assert trace_encoder._encode_resource_spans is newer


def test_an_sdk_that_encodes_in_another_way_is_left_alone(monkeypatch):
    monkeypatch.delattr(trace_encoder, "_encode_resource_spans")
    fast_encoder.install()
    assert not fast_encoder.is_installed()
    assert not hasattr(trace_encoder, "_encode_resource_spans")


LATE = """
import sys
from otjobs.sdk import fast_encoder
{before}
assert fast_encoder.MODULE not in sys.modules
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
print(fast_encoder.is_installed())
"""


@light_only
@pytest.mark.parametrize(
    ("before", "installed"),
    [("fast_encoder.install()", True), ("fast_encoder.install(); fast_encoder.uninstall()", False), ("", False)],
)
def test_an_encoder_that_is_loaded_later_is_found_then(before, installed):
    done = subprocess.run(
        [sys.executable, "-c", LATE.format(before=before)], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == str(installed)
