"""What is written directly is what the SDK's encoder would have written, and whatever cannot be is left to it."""

from __future__ import annotations

import random
import sys
import types

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
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
    """Return every span by its id, with the resource and scope it came under."""
    return {
        span.span_id: (span, resource.resource, resource.schema_url, scope.scope, scope.schema_url)
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    }


def _assert_same(spans, *, directly=True):
    body = fast_encoder.Encoder(encode_spans).encode(spans)
    assert (body is not None) is directly
    made = fast_encoder.Encoder(encode_spans)(spans)
    assert isinstance(made, fast_encoder.Encoded) is directly
    found = ExportTraceServiceRequest.FromString(made.SerializePartialToString())
    assert _spans_of(found) == _spans_of(encode_spans(spans))
    assert len(_spans_of(found)) == len(spans)


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
    _assert_same(exporter.get_finished_spans())


@light_only
def test_equal_values_of_different_types_stay_apart(tracer, exporter):
    for _ in range(4):
        for value in (1, 1.0, True, 0, False, 0.0):
            _span(tracer, attributes={"v": value}).end()
    _assert_same(exporter.get_finished_spans())


@light_only
def test_spans_that_are_not_plain_go_the_sdks_way_beside_the_others(tracer, exporter):
    for _ in range(10):
        _span(tracer).end()
    failed = _span(tracer)
    failed.set_status(Status(StatusCode.ERROR, "bad"))
    failed.add_event("exception", {"exception.type": "E"})
    failed.end()
    odd = _span(tracer)
    odd.set_attribute("list", ["a", 1])
    odd.set_attribute("bytes", b"\xff")
    odd.end()
    _span(tracer, context=_under(WITH_STATE)).end()
    linked = _span(tracer)
    linked.add_link(REMOTE, {"l": 1})
    linked.end()
    tracer.start_span("the SDK's own", attributes={"x": 1}).end()
    _assert_same(exporter.get_finished_spans())


@light_only
def test_spans_of_several_resources(tracer, exporter):
    other = TracerProvider(resource=Resource({"service.name": "other"}))
    other.add_span_processor(SimpleSpanProcessor(exporter))
    for _ in range(5):
        _span(tracer).end()
        _span(other.get_tracer("otjobs", "2")).end()
    _assert_same(exporter.get_finished_spans())


@light_only
def test_small_batches_and_foreign_spans_are_the_sdks(tracer, exporter):
    for number in range(20):
        tracer.start_span(f"foreign {number}").end()
    _span(tracer).end()
    _assert_same(exporter.get_finished_spans(), directly=False)
    _assert_same(exporter.get_finished_spans()[-1:], directly=False)


@light_only
def test_a_span_that_cannot_be_written_is_left_to_the_sdk_alone(tracer, exporter):
    for number in range(12):
        _span(tracer, attributes={"n": 1 << 70 if number == 5 else number, "s": "ok"}).end()
    made = fast_encoder.Encoder(encode_spans)(exporter.get_finished_spans())
    assert isinstance(made, fast_encoder.Encoded)  # the others are written directly
    found = _spans_of(ExportTraceServiceRequest.FromString(made.SerializePartialToString()))
    assert len(found) == 12
    assert sorted(len(span.attributes) for span, *_ in found.values()) == [1] + [2] * 11  # that number has no encoding


@pytest.fixture
def loaded(monkeypatch):
    module = types.ModuleType(fast_encoder.EXPORTER)
    module.encode_spans = encode_spans
    monkeypatch.setitem(sys.modules, fast_encoder.EXPORTER, module)
    return module


@light_only
def test_it_is_put_in_place_once(loaded):
    assert fast_encoder.install()
    placed = loaded.encode_spans
    assert isinstance(placed, fast_encoder.Encoder)
    assert placed.original is encode_spans
    assert fast_encoder.install()
    assert loaded.encode_spans is placed


def test_an_sdk_that_writes_something_else_is_left_alone(loaded):
    def newer(spans):
        request = encode_spans(spans)
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    span.flags |= 0x400
        return request

    loaded.encode_spans = newer
    assert not fast_encoder.install()
    assert loaded.encode_spans is newer


def test_where_the_exporter_is_not_loaded_nothing_happens(monkeypatch):
    monkeypatch.delitem(sys.modules, fast_encoder.EXPORTER, raising=False)
    assert not fast_encoder.install()
    assert fast_encoder.EXPORTER not in sys.modules
