"""A span of the fast path is the span that the SDK would have made."""

from __future__ import annotations

import json
import random

import pytest
from opentelemetry import trace
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    DEFAULT_ON,
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
)
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags, TraceState

from otjobs import attributes as a
from otjobs.sdk import fast_spans

PARENT = SpanContext(0xA1, 0xB2, is_remote=True, trace_flags=TraceFlags(1), trace_state=TraceState([("k", "v")]))
UNSAMPLED = SpanContext(0xA1, 0xB2, is_remote=True, trace_flags=TraceFlags(0))


class Numbered(IdGenerator):
    def __init__(self):
        self._chance = random.Random(1)

    def generate_span_id(self):
        return self._chance.getrandbits(63) + 1

    def generate_trace_id(self):
        return self._chance.getrandbits(127) + 1


class Adding(Sampler):
    """Records without sampling, and adds attributes of its own, one of them in need of cleaning."""

    def should_sample(self, parent_context, trace_id, name, kind=None, attributes=None, links=None, trace_state=None):
        given = attributes or {}
        more = {"sampler.seen": len(given), "sampler.list": ["a", "b"]}
        return SamplingResult(Decision.RECORD_ONLY, {**given, **more})

    def get_description(self):
        return "adding"


class AlsoUnsampled(SimpleSpanProcessor):
    def on_end(self, span):
        self.span_exporter.export((span,))


def _record(start, *, sampler, context, attributes, links, limits=None):
    """Return what is exported, and what a child and a reader of the span see, with spans started by `start`."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(
        sampler=sampler, id_generator=Numbered(), resource=Resource({"service.name": "s"}), span_limits=limits
    )
    provider.add_span_processor(AlsoUnsampled(exporter))
    tracer = provider.get_tracer("otjobs", "1", schema_url="https://example.com/1")
    span = start(
        tracer, "execute x", context=context, kind=SpanKind.CONSUMER, attributes=dict(attributes),
        links=[Link(link) for link in links], start_time=1_000_000_000,
    )  # fmt: skip
    seen = [span.is_recording(), span.get_span_context()]
    span.set_attributes({"otjobs.job.outcome": "failure", "f": 0.5, "otjobs.job.dispatched": 0})
    span.set_attributes({"odd": ("a", "b"), "none": None})
    span.set_attribute("own", "of the user")
    span.add_event("e", {"k": 1}, timestamp=1_500_000_000)
    for number in range(3):
        span.add_event(f"e {number}", timestamp=1_600_000_000)
        span.add_link(PARENT, {"l": number})
    span.set_status(trace.Status(trace.StatusCode.ERROR, "bad"))
    span.update_name("renamed")
    child = tracer.start_span("child", context=trace.set_span_in_context(span, Context()), start_time=1_100_000_000)
    child.end(1_200_000_000)
    span.end(2_000_000_000)
    span.set_attribute("late", True)
    return seen, [json.loads(one.to_json()) for one in exporter.get_finished_spans()]


NONE = "none" in BoundedAttributes(1, {"none": None})
"""None is an attribute for SDKs from 1.45 on."""
PLAIN = {"messaging.system": "celery", "otjobs.job.attempt": 1, "otjobs.job.redelivered": True, "x": 0.25}


@pytest.mark.parametrize("sampler", [DEFAULT_ON, ALWAYS_ON, ALWAYS_OFF, ParentBased(ALWAYS_ON), Adding()])
@pytest.mark.parametrize("parent", [None, PARENT, UNSAMPLED])
@pytest.mark.parametrize("attributes", [PLAIN, {}])
@pytest.mark.parametrize("links", [(), (PARENT,)])
def test_a_fast_span_equals_the_sdks(sampler, parent, attributes, links):
    context = Context() if parent is None else trace.set_span_in_context(trace.NonRecordingSpan(parent), Context())
    given = {"sampler": sampler, "context": context, "attributes": attributes, "links": links}

    def sdks(tracer, name, **more):
        assert fast_spans.usable(tracer)
        return tracer.start_span(name, **more)

    assert _record(fast_spans.start_span, **given) == _record(sdks, **given)


@pytest.mark.parametrize(
    "limits",
    [
        SpanLimits(max_span_attributes=3),
        SpanLimits(max_attributes=0),
        SpanLimits(max_span_attribute_length=4),
        SpanLimits(max_span_attributes=70),
        SpanLimits(),
    ],
)
def test_limits_bind_what_others_set_as_ever(limits):
    """The application's attributes on a span with none of ours are those that the SDK would keep."""

    def record(start):
        return _record(start, sampler=ALWAYS_ON, context=Context(), attributes={}, links=(), limits=limits)

    def filled(start):
        def more(tracer, name, **given):
            span = start(tracer, name, **given)
            for number in range(90):
                span.set_attribute(f"key.{number}", "value")
            span.set_attributes({"key.85": "again", "key.1": "once more", "long": "x" * 20})
            return span

        return more

    _, (_, mine) = record(filled(fast_spans.start_span))
    _, (_, theirs) = record(filled(lambda tracer, name, **more: tracer.start_span(name, **more)))
    ours = {key: value for key, value in mine["attributes"].items() if key not in a.NAMES}
    kept = limits.max_span_attributes
    assert len(ours) == min(kept, 90 + 4 + NONE)  # `long`, and what `_record` sets
    # The SDK counts ours among them and so keeps fewer; what both keep is the same.
    both = ours.keys() & theirs["attributes"].keys()
    assert {key: ours[key] for key in both} == {key: theirs["attributes"][key] for key in both}
    assert list(ours)[-1:] == [key for key in theirs["attributes"] if key not in a.NAMES][-1:] or not kept


def test_with_few_links_allowed_the_sdk_makes_the_spans():
    assert not fast_spans.usable(TracerProvider(span_limits=SpanLimits(max_links=5)).get_tracer("t"))


def test_other_tracers_make_their_own_spans():
    assert not fast_spans.usable(trace.NoOpTracer())
    assert not fast_spans.usable(trace.ProxyTracerProvider().get_tracer("t"))


def test_an_sdk_of_another_shape_makes_its_own_spans(monkeypatch):
    tracer = TracerProvider().get_tracer("t")
    assert fast_spans.usable(tracer)
    before = fast_spans.sdk._Span.__init__

    def newer(self, *args, **kwargs):
        before(self, *args, **kwargs)
        self._new_field = 1

    monkeypatch.setattr(fast_spans.sdk.Span, "__init__", newer)
    assert not fast_spans.usable(tracer)


def test_an_sdk_whose_ended_spans_have_another_shape_makes_its_own_spans(monkeypatch):
    before = fast_spans.sdk.Span._readable_span

    def newer(self):
        readable = before(self)
        readable._new_field = 1
        return readable

    monkeypatch.setattr(fast_spans.sdk.Span, "_readable_span", newer)
    assert not fast_spans.usable(TracerProvider().get_tracer("t"))


def test_an_id_generator_is_asked_no_more_than_the_sdk_asks():
    class Older:
        generate_span_id = staticmethod(lambda: 1)
        generate_trace_id = staticmethod(lambda: 1)

    asks = hasattr(IdGenerator, "is_trace_id_random")  # that of 1.40 does not
    assert fast_spans.usable(TracerProvider(id_generator=Older()).get_tracer("t")) is not asks
