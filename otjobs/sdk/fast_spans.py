"""Starts the SDK's own spans without what a span of known content does not need.

`Tracer.start_span` checks, copies and bounds every attribute, link and list again for each span; for job spans, whose
attributes are made here, that is most of what tracing a job costs (bench/celery_overhead.py). A `JobSpan` is the SDK's
span with the same fields, filled in directly; samplers, processors, ids and limits are asked as ever.

It is used only where the installed SDK looks as this module knows it, which is tried once per tracer; anywhere else
`Tracer.start_span` does the work. Only `otjobs.sdk.path` imports this module, inside that trial: where the SDK has no
such class any more, the import fails.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.sdk.trace.sampling import DEFAULT_ON, Decision
from opentelemetry.sdk.util import BoundedList
from opentelemetry.trace import (
    INVALID_SPAN_CONTEXT,
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    get_current_span,
    set_span_in_context,
)

from otjobs.sdk import own_attributes, trial
from otjobs.span_contexts import valid_context

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.trace import Span, Tracer

    from otjobs.sdk.own_attributes import Attributes

MOST_LINKS: Final = 110
"""More than a job span has when it starts."""

UNEXPECTED: Final = "the SDK's spans are not as expected"
_UNSET: Final = Status(StatusCode.UNSET)
_NO_ATTRIBUTES: Final = BoundedAttributes(0, None, immutable=True)
_RANDOM: Final = getattr(TraceFlags, "RANDOM_TRACE_ID", 0)
_KNOWS_RANDOM: Final = hasattr(IdGenerator, "is_trace_id_random")
"""Older SDKs (1.40) do not say of a trace id that it is random."""
_FLAGS: Final = {
    (sampled, random): TraceFlags((TraceFlags.SAMPLED if sampled else 0) | (_RANDOM if random else 0))
    for sampled in (True, False)
    for random in (True, False)
}


class JobSpan(sdk._Span):  # noqa: SLF001  (the SDK makes no other span, and hides its class)
    """A span of the SDK, made by `object.__new__` and filled in without its constructor."""

    def fill(
        self,
        tracer: Any,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        kind: SpanKind,
        attributes: Attributes,
        links: Sequence[Link],
        start_time: int,
        ended: Any,
    ) -> None:
        """Set every field that the SDK's constructor sets."""
        self._name = name
        self._context = context
        self._kind = kind
        self._instrumentation_info = tracer.instrumentation_info
        self._instrumentation_scope = tracer._instrumentation_scope  # noqa: SLF001
        self._parent = parent
        self._start_time = start_time
        self._end_time = None
        self._attributes = attributes
        for link in links:
            link._attributes = _NO_ATTRIBUTES  # noqa: SLF001
        # Lists that may grow are made when they do: with their locks and buffers they are most of a waiting span.
        self._events: Sequence[Any] = ()
        self._links: Sequence[Link] = tuple(links)
        self._resource = tracer.resource
        self._status = _UNSET
        self._sampler = tracer.sampler
        self._trace_config = None
        self._record_exception = True
        self._set_status_on_exception = True
        self._span_processor = tracer.span_processor
        self._limits = tracer._span_limits  # noqa: SLF001
        self._lock = threading.Lock()
        self._record_end_metrics = ended

    def set_own_attributes(self, attributes: dict[str, Any]) -> None:
        """Set sound attributes of ours: nothing need be asked of them."""
        if self._end_time is None:
            self._attributes._dict.update(attributes)  # type: ignore[union-attr]  # noqa: SLF001

    def _readable_span(self) -> sdk.ReadableSpan:
        readable = sdk.ReadableSpan.__new__(sdk.ReadableSpan)
        readable.__dict__ = {
            "_name": self._name,
            "_context": self._context,
            "_kind": self._kind,
            "_instrumentation_info": self._instrumentation_info,
            "_instrumentation_scope": self._instrumentation_scope,
            "_parent": self._parent,
            "_start_time": self._start_time,
            "_end_time": self._end_time,
            "_attributes": self._attributes,
            "_events": self._events,
            "_links": self._links,
            "_resource": self._resource,
            "_status": self._status,
        }
        return readable

    def _add_event(self, event: Any) -> None:
        with self._lock:
            if not self._events:
                self._events = BoundedList(self._limits.max_events)
        super()._add_event(event)

    def _add_link(self, link: Link) -> None:
        with self._lock:
            if type(self._links) is tuple:
                self._links = BoundedList.from_seq(self._limits.max_links, self._links)
        super()._add_link(link)


def usable(tracer: Tracer) -> bool:
    """Tell whether this tracer's spans can be made here."""
    return not unusable(tracer)


def unusable(tracer: Tracer) -> str:
    """Return why this tracer's spans cannot be made here, '' where they can."""
    if type(tracer) is not sdk.Tracer:
        return "the tracer is not the SDK's"
    limits: Any = tracer._span_limits  # noqa: SLF001
    if limits.max_links is not None and limits.max_links < MOST_LINKS:
        return f"a span may have {limits.max_links} links only (OTEL_SPAN_LINK_COUNT_LIMIT)"
    if _KNOWS_RANDOM and not hasattr(tracer.id_generator, "is_trace_id_random"):
        return "the id generator does not say whether its ids are random"
    tried = trial.tracer()
    above = SpanContext(1, 1, is_remote=True, trace_flags=TraceFlags(_RANDOM | 1))
    under = set_span_in_context(NonRecordingSpan(above), Context())
    return "" if all(_same(tried, context) for context in (Context(), under)) else UNEXPECTED


def _same(tried: Any, context: Context) -> bool:
    """Tell whether a span made here has the fields and the content of one that the SDK makes."""
    given: Any = {"context": context, "kind": SpanKind.PRODUCER, "start_time": 1}
    theirs: Any = tried.start_span("s", links=[Link(trial.REMOTE)], attributes=trial.ATTRIBUTES, **given)
    ours: Any = start_span(tried, "s", links=[Link(trial.REMOTE)], attributes={**trial.ATTRIBUTES}, **given)
    return (
        vars(theirs).keys() == vars(ours).keys()
        and vars(theirs._readable_span()).keys() == vars(ours._readable_span()).keys()  # noqa: SLF001
        and trial.come_out_the_same(theirs, ours)
    )


def start_span(
    tracer: Any,
    name: str,
    context: Context,
    kind: SpanKind,
    attributes: dict[str, Any],
    links: Sequence[Link],
    start_time: int,
) -> Span:
    """Start a span like `Tracer.start_span` of a tracer that is `usable`; its attributes are sound, and not copied."""
    parent: SpanContext | None = get_current_span(context).get_span_context() if context else None
    if not tracer._is_enabled():  # noqa: SLF001
        return NonRecordingSpan(parent or INVALID_SPAN_CONTEXT)
    ids = tracer.id_generator
    if parent is None or not parent.is_valid:
        parent, trace_id, random = None, ids.generate_trace_id(), _KNOWS_RANDOM and ids.is_trace_id_random()
        above: int = TraceFlags.SAMPLED
    else:
        trace_id, above = parent.trace_id, parent.trace_flags
        random = above & _RANDOM
    if tracer.sampler is DEFAULT_ON:  # what it would answer, without asking three more objects
        decision = Decision.RECORD_AND_SAMPLE if above & TraceFlags.SAMPLED else Decision.DROP
        added, state = None, None if parent is None else parent.trace_state
    else:
        result = tracer.sampler.should_sample(context, trace_id, name, kind, attributes, links)
        decision, added, state = result.decision, result.attributes, result.trace_state
    flags = _FLAGS[decision is Decision.RECORD_AND_SAMPLE, bool(random)]
    make = valid_context if type(ids) is RandomIdGenerator else SpanContext  # another one may generate anything
    own = make(trace_id, ids.generate_span_id(), False, flags, state)  # noqa: FBT003
    ended = tracer._tracer_metrics.start_span(parent, decision)  # noqa: SLF001
    if decision is Decision.DROP:
        return NonRecordingSpan(own)
    limits = tracer._span_limits  # noqa: SLF001
    if added is None:
        kept = own_attributes.Attributes(attributes, limits.max_span_attributes, limits.max_span_attribute_length)
    else:
        kept = own_attributes.of(attributes, added, limits)
    span: JobSpan = object.__new__(JobSpan)
    span.fill(tracer, name, own, parent, kind, kept, links, start_time, ended)
    tracer.span_processor.on_start(span, parent_context=context)
    return span
