"""What travels in a job's payload: encode, decode, survive garbage.

A carrier is a flat dict of strings, so it fits JSON, message headers and hash fields alike. Numbers are strings
because unix nanoseconds exceed the integers that JSON readers keep exactly. `traceparent`, `tracestate` and `baggage`
are those of W3C Trace Context and Baggage, so any other OpenTelemetry library can continue from a carrier.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Final

from opentelemetry import baggage, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.trace import SpanContext, TraceFlags, TraceState

from otjobs.errors import warn
from otjobs.job import Job, Parent

MAX_BYTES: Final = 32 * 1024
MAX_TEXT: Final = 1024
MAX_LABELS: Final = 32
MAX_LINKS: Final = 100
MAX_BAGGAGE: Final = 8192
_LABEL: Final = "label."
_INT64: Final = 2**63 - 1

# field of Job -> key in the carrier
_TEXTS: Final = {
    "workflow_type": "workflow_type",
    "group_id": "group",
    "trigger": "trigger",
    "trigger_name": "trigger_name",
    "producer": "producer",
    "workflow_id": "workflow",
}
_NUMBERS: Final = {
    "enqueued_at": "enqueued_at",
    "published_at": "published_at",
    "due_at": "due_at",
    "expires_at": "expires_at",
    "max_attempts": "max_attempts",
    "workflow_started_at": "workflow_started_at",
    "roots": "roots",
    "first_started_at": "first_started_at",
}
_TEXT_OF: Final = {key: name for name, key in _TEXTS.items()}
_OWN: Final = frozenset({"system", "id", "type", "queue", "parent_id", "parent_type"})
_ELSEWHERE: Final = frozenset(
    {"traceparent", "tracestate", "baggage", "previous", "attempt", "parent_attempt", "links"}
)
_NUMBER_OF: Final = {key: name for name, key in _NUMBERS.items()}
_numbers_of: Final = attrgetter(*_NUMBERS)
_texts_of: Final = attrgetter(*_TEXTS)
# https://www.w3.org/TR/trace-context/#traceparent-header: version ff is forbidden, later versions may add fields.
_TRACEPARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_TRACE_ID: Final = re.compile(r"(?!0{32})[0-9a-f]{32}")
_baggage = W3CBaggagePropagator()


@dataclass(slots=True)
class Carrier:
    """A decoded carrier; everything in it is optional."""

    dispatch: SpanContext | None = None
    previous: SpanContext | None = None
    """The execute span of the attempt before."""
    context: Context = field(default_factory=Context)
    """The dispatch's context with the baggage that travelled."""
    system: str = ""
    job_id: str = ""
    job_type: str = ""
    queue: str = ""
    """The queue of the first publication."""
    attempt: int = 1
    parent: Parent | None = None
    fields: dict[str, Any] = field(default_factory=dict)
    """Further fields of `Job` by name."""
    known: bool = False
    """True when there was a readable carrier at all."""


def encode(
    job: Job,
    dispatch: SpanContext | None,
    context: Context | None = None,
    *,
    previous: SpanContext | None = None,
    identity: bool = True,
) -> dict[str, str]:
    """Return the carrier of a publication.

    Args:
        job: the job as published.
        dispatch: the dispatch span's context, which never changes over a job's retries.
        context: whose baggage travels.
        previous: the execute span of the attempt that re-publishes.
        identity: also write system and job id, for queues that keep them nowhere else.
    """
    out: dict[str, str] = {}
    if dispatch is not None and dispatch.is_valid:
        out["traceparent"] = format_traceparent(dispatch)
        if dispatch.trace_state:
            out["tracestate"] = dispatch.trace_state.to_header()
    if previous is not None and previous.is_valid:
        out["previous"] = format_traceparent(previous)
    if context and baggage.get_all(context):
        _baggage.inject(out, context)
        if len(out.get("baggage", "")) > MAX_BAGGAGE:
            del out["baggage"]
            warn("the baggage of a job is too large and does not travel", f"more than {MAX_BAGGAGE} bytes")
    if identity:
        out["system"] = job.system
        out["id"] = job.job_id
    out["type"] = job.job_type
    out["queue"] = job.first_queue or job.queue
    if job.attempt != 1:
        out["attempt"] = str(job.attempt)
    for key, number in zip(_NUMBER_OF, _numbers_of(job), strict=True):
        if number is not None:
            out[key] = str(number)
    for key, text in zip(_TEXT_OF, _texts_of(job), strict=True):
        if text:
            out[key] = text[:MAX_TEXT]
    if dispatch is not None and out.get("workflow") == f"{dispatch.trace_id:032x}":
        del out["workflow"]  # derived by the reader
    if job.parent is not None:
        out["parent_id"] = job.parent.id[:MAX_TEXT]
        out["parent_type"] = job.parent.type[:MAX_TEXT]
        out["parent_attempt"] = str(job.parent.attempt)
    for name, value in job.labels.items():
        out[_LABEL + name] = value
    if job.links:
        out["links"] = _format_links(job.links, dispatch)
    return out


def decode(raw: object) -> Carrier:
    """Read a carrier in any state; what is broken is left out and counted, nothing is raised.

    Args:
        raw: a mapping, its JSON as str or bytes, or anything else.
    """
    if raw is None:
        return Carrier()
    data = _mapping(raw)
    if data is None:
        warn("a job carried a broken otjobs carrier, traced without it", _short(raw))
        return Carrier()
    out = Carrier(known=bool(data), dispatch=_span_context(data, "traceparent", data.get("tracestate")))
    if "previous" in data:
        out.previous = _span_context(data, "previous", None)
    if out.dispatch is not None:
        out.context = trace.set_span_in_context(trace.NonRecordingSpan(out.dispatch), out.context)
    labels: dict[str, object] = {}
    own: dict[str, str] = {}
    for key, value in data.items():
        # One pass over what is there, rather than a look-up of all that might be: a carrier is read for every job.
        if key in _NUMBER_OF:
            number = _number(value, key)
            if number is not None:
                out.fields[_NUMBER_OF[key]] = number
        elif key in _TEXT_OF:
            text = _text(value, key)
            if text:
                out.fields[_TEXT_OF[key]] = text
        elif key in _OWN:
            own[key] = _text(value, key)
        elif key not in _ELSEWHERE and isinstance(key, str) and key.startswith(_LABEL) and isinstance(value, str):
            labels[key[len(_LABEL) :]] = value
    out.system, out.job_id = own.get("system", ""), own.get("id", "")
    out.job_type, out.queue = own.get("type", ""), own.get("queue", "")
    if "attempt" in data:
        out.attempt = min(max(_number(data["attempt"], "attempt") or 1, 1), 65_535)
    if "workflow_id" in out.fields and not _TRACE_ID.fullmatch(out.fields["workflow_id"]):
        warn("a field of an otjobs carrier is broken and left out", "workflow")
        del out.fields["workflow_id"]
    if own.get("parent_id"):
        attempt = _number(data.get("parent_attempt"), "parent_attempt")
        out.parent = Parent(own["parent_id"], own.get("parent_type", ""), max(attempt or 1, 1))
    if isinstance(data.get("baggage"), str):
        out.context = _baggage.extract({"baggage": data["baggage"]}, out.context)
    if labels:
        out.fields["labels"] = clean_labels(labels)
    if isinstance(data.get("links"), str):
        out.fields["links"] = _parse_links(data["links"], out.dispatch)
    return out


def clean_labels(labels: Mapping[str, object]) -> dict[str, str]:
    """Return the labels as strings within the limits of a carrier (32 labels, 256 characters a value)."""
    out = {str(key)[:64]: str(value)[:256] for key, value in list(labels.items())[:MAX_LABELS]}
    if len(labels) > MAX_LABELS:
        warn(f"a job has more than {MAX_LABELS} labels; the rest is left out")
    return out


def format_traceparent(context: SpanContext) -> str:
    """Return the W3C traceparent of a span context."""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def parse_traceparent(text: object, state: object = None) -> SpanContext | None:
    """Return the remote span context of a W3C traceparent, None if it is not one."""
    found = _TRACEPARENT.fullmatch(text) if isinstance(text, str) and len(text) <= 128 else None
    if found is None:
        return None
    trace_id, span_id = int(found[1], 16), int(found[2], 16)
    if not trace_id or not span_id:
        return None
    trace_state = TraceState.from_header([state]) if isinstance(state, str) and state else None
    flags = TraceFlags(int(found[3], 16))
    return SpanContext(trace_id, span_id, is_remote=True, trace_flags=flags, trace_state=trace_state)


def _format_links(links: tuple[SpanContext, ...], dispatch: SpanContext | None) -> str:
    """Return span contexts as `trace-span` in hex, without the trace where it is the dispatch's."""
    own = 0 if dispatch is None else dispatch.trace_id
    return ",".join(
        f"{link.span_id:016x}" if link.trace_id == own else f"{link.trace_id:032x}-{link.span_id:016x}"
        for link in links[:MAX_LINKS]
    )


def _parse_links(text: str, dispatch: SpanContext | None) -> tuple[SpanContext, ...]:
    own = "" if dispatch is None else f"{dispatch.trace_id:032x}-"
    flags = 1 if dispatch is None else dispatch.trace_flags
    found = []
    for part in text.split(",")[:MAX_LINKS]:
        context = parse_traceparent(f"00-{part if '-' in part else own + part}-{flags:02x}")
        if context is None:
            warn("a field of an otjobs carrier is broken and left out", "links")
            return ()
        found.append(context)
    return tuple(found)


def _mapping(raw: object) -> Mapping[Any, Any] | None:
    if isinstance(raw, (bytes, bytearray)):
        try:
            raw = bytes(raw).decode() if len(raw) <= MAX_BYTES else None
        except UnicodeDecodeError:
            return None
    if isinstance(raw, str):
        try:
            raw = json.loads(raw) if len(raw) <= MAX_BYTES else None
        except (ValueError, RecursionError):
            return None
    if not (type(raw) is dict or isinstance(raw, Mapping)) or len(raw) > 128:
        return None
    try:
        size = sum(map(len, raw.values()))
    except TypeError:  # a value that is no text
        size = sum(len(v) for v in raw.values() if isinstance(v, (str, bytes)))
    return raw if size <= MAX_BYTES else None


def _span_context(data: Mapping[Any, Any], key: str, state: object) -> SpanContext | None:
    text = data.get(key)
    if text is None:
        return None
    context = parse_traceparent(text, state)
    if context is None:
        warn("a field of an otjobs carrier is broken and left out", key)
    return context


def _text(value: object, key: str) -> str:
    if isinstance(value, str) and len(value) <= MAX_TEXT:
        return value
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _INT64:
        return str(value)
    warn("a field of an otjobs carrier is broken and left out", key)
    return ""


def _number(value: object, key: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, str) and len(value) <= 19 and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _INT64:
        warn("a field of an otjobs carrier is broken and left out", key)
        return None
    return value


def _short(raw: object) -> str:
    return (
        f"{type(raw).__name__} {str(raw)[:80]!r}" if isinstance(raw, (str, bytes, int, float)) else type(raw).__name__
    )
