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
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace
from opentelemetry.context import Context

from otjobs import given, propagation, times
from otjobs.faults import note, warn
from otjobs.job import UNKNOWN, Job, Parent
from otjobs.texts import MAX_TEXT, bounded, mended, shown
from otjobs.traceparent import format_links, format_traceparent, parse_links, parse_traceparent

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

MAX_SIZE: Final = 64 * 1024
"""Characters of a carrier, keys and values; `encode` stays below it whatever the job is like."""
MAX_FIELDS: Final = 128
_LABEL: Final = "label."
_INT64: Final = 2**63 - 1
_BROKEN: Final = "a field of an otjobs carrier is broken and left out"

_TEXTS: Final = ("workflow_type", "trigger", "trigger_name", "producer")
_NUMBERS: Final = (
    "enqueued_at",
    "published_at",
    "due_at",
    "expires_at",
    "max_attempts",
    "workflow_started_at",
    "roots",
    "first_started_at",
)
"""Fields of `Job` that have the same name in a carrier."""
_DEADLINES: Final = frozenset({"due_at", "expires_at"})
_BOUNDED: Final = frozenset({"system", "id", "type", "queue", "parent_id", "parent_type", "workflow", "group", *_TEXTS})
# key in the carrier -> how it is read in the pass over all of them; labels have names of their own
_KIND_OF: Final = {
    **dict.fromkeys(_BOUNDED, "text"),
    **dict.fromkeys(_TEXTS, "field"),
    **{key: "time" if key.endswith("_at") else "count" for key in _NUMBERS},
    **dict.fromkeys(("traceparent", "tracestate", "baggage", "previous", "attempt", "parent_attempt", "links"), ""),
}
_USUAL: Final = frozenset(
    {"traceparent", "tracestate", "baggage", "type", "queue", "enqueued_at", "max_attempts", "producer", "trigger",
     "trigger_name", "workflow_type", "workflow_started_at", "parent_id", "parent_type", "parent_attempt"}
)  # fmt: skip
"""What the carrier of a first attempt has: a root job's, or a child's."""
_TRACE_ID: Final = re.compile(r"(?!0{32})[0-9a-f]{32}")


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
    others = propagation.others()
    if context or others:
        around = Context() if context is None else context
        if dispatch is not None and dispatch.is_valid and others:
            around = trace.set_span_in_context(trace.NonRecordingSpan(dispatch), around)
        propagation.inject(out, around)
    if dispatch is not None and dispatch.is_valid:
        out["traceparent"] = format_traceparent(dispatch)
        if dispatch.trace_state:
            out["tracestate"] = dispatch.trace_state.to_header()
    if previous is not None and previous.is_valid:
        out["previous"] = format_traceparent(previous)
    if identity:
        out["system"] = job.system
        out["id"] = job.job_id
    out["type"] = job.job_type
    out["queue"] = job.first_queue or job.queue
    if job.attempt != 1:
        out["attempt"] = str(job.attempt)
    _write_numbers(job, out)
    if job.producer:
        out["producer"] = job.producer
    if job.trigger:
        out["trigger"] = job.trigger
    if job.trigger_name:
        out["trigger_name"] = job.trigger_name
    if job.workflow_type:
        out["workflow_type"] = job.workflow_type
    if job.group_id:
        out["group"] = job.group_id
    # That of the dispatch itself is derived by the reader.
    if job.workflow_id and (dispatch is None or job.workflow_id != f"{dispatch.trace_id:032x}"):
        out["workflow"] = job.workflow_id
    if job.parent is not None:
        out["parent_id"] = job.parent.id
        out["parent_type"] = job.parent.type
        out["parent_attempt"] = str(job.parent.attempt)
    for name, value in job.labels.items():
        out[_LABEL + name] = value
    every = "".join(out.values())  # asked once for all of them: this is done for every job
    if not every.isascii() or len(every) > MAX_TEXT:
        out = {mended(key): bounded(text) if key in _BOUNDED else mended(text) for key, text in out.items()}
    if job.links:
        links = format_links(job.links, dispatch)
        if links:
            out["links"] = links
    return out


def _write_numbers(job: Job, out: dict[str, str]) -> None:
    # Written out: a loop over names costs three times as much, and a carrier is written for every job.
    if job.enqueued_at is not None:
        out["enqueued_at"] = str(job.enqueued_at)
    if job.published_at is not None:
        out["published_at"] = str(job.published_at)
    if job.due_at is not None:
        out["due_at"] = str(job.due_at)
    if job.expires_at is not None:
        out["expires_at"] = str(job.expires_at)
    if job.max_attempts is not None:
        out["max_attempts"] = str(job.max_attempts)
    if job.workflow_started_at is not None:
        out["workflow_started_at"] = str(job.workflow_started_at)
    if job.roots is not None:
        out["roots"] = str(job.roots)
    if job.first_started_at is not None:
        out["first_started_at"] = str(job.first_started_at)


def decode(raw: object) -> Carrier:
    """Read a carrier in any state; what is broken is left out and counted, nothing is raised.

    Args:
        raw: a mapping, its JSON as str or bytes, or anything else.
    """
    out = Carrier()
    if raw is None:
        return out
    try:
        data = _mapping(raw)
        if data is None:
            warn("a job carried a broken otjobs carrier, traced without it", shown(raw))
        else:
            out.known = bool(data)
            _read(data, out)
    except Exception as error:
        note("a job carried a broken otjobs carrier, read in part", error)
    return out


def _read(data: dict[Any, Any], out: Carrier) -> None:
    values = data.values()
    if data.keys() <= _USUAL and set(map(type, values)) == {str} and len("".join(values)) <= MAX_TEXT:
        _read_usual(data, out)
    else:
        _read_any(data, out)
    out.context = propagation.extract(data, out.context)
    if "traceparent" in data:
        out.dispatch = _span_context(data, "traceparent", data.get("tracestate"))
    elif propagation.others():
        foreign = trace.get_current_span(out.context).get_span_context()
        out.dispatch = foreign if foreign.is_valid else None
    if "previous" in data:
        out.previous = _span_context(data, "previous", None)
    if out.dispatch is not None:
        out.context = propagation.with_span(trace.NonRecordingSpan(out.dispatch), out.context)
    if isinstance(data.get("links"), str):
        links = out.fields["links"] = parse_links(data["links"], out.dispatch)
        if not links:
            warn(_BROKEN, "links")


def _read_usual(data: dict[str, str], out: Carrier) -> None:
    # Written out, like `_write_numbers`: nearly every job has such a carrier, and `_read_any` costs four times this.
    get, fields = data.get, out.fields
    out.job_type, out.queue = get("type", ""), get("queue", "")
    if (text := get("enqueued_at")) is not None and (number := _time(text, "enqueued_at")) is not None:
        fields["enqueued_at"] = number
    if (text := get("max_attempts")) is not None and (number := _number(text, "max_attempts")) is not None:
        fields["max_attempts"] = min(number, given.MOST)
    if text := get("producer"):
        fields["producer"] = text
    if text := get("trigger"):
        fields["trigger"] = text
    if text := get("trigger_name"):
        fields["trigger_name"] = text
    if text := get("workflow_type"):
        fields["workflow_type"] = text
    if (text := get("workflow_started_at")) is not None and (number := _time(text, "workflow_started_at")) is not None:
        fields["workflow_started_at"] = number
    if text := get("parent_id"):
        out.parent = _parent(text, get("parent_type", ""), data)


def _read_any(data: dict[Any, Any], out: Carrier) -> None:
    fields, kind_of = out.fields, _KIND_OF.get
    texts: dict[str, str] = {}
    labels: dict[str, object] = {}
    for key, value in data.items():
        if type(key) is not str:
            continue
        kind = kind_of(key)
        if kind == "text" or kind == "field":  # noqa: PLR1714  (cheaper than `in`)
            if type(value) is not str or len(value) > MAX_TEXT:
                value = _text(value, key)  # noqa: PLW2901
            if value:
                (texts if kind == "text" else fields)[key] = value
        elif kind == "time":
            number = _time(value, key)
            if number is not None:
                fields[key] = number
        elif kind == "count":
            number = _number(value, key)
            if number is not None:
                fields[key] = min(number, given.MOST)
        elif kind is None and key.startswith(_LABEL) and isinstance(value, str):
            labels[key[len(_LABEL) :]] = value
    if "attempt" in data:
        out.attempt = min(_number(data["attempt"], "attempt") or 1, given.MOST_ATTEMPTS)
    _read_texts(texts, data, out)
    if labels:
        out.fields["labels"] = given.labels(labels, "the labels of a carrier")


def _parent(parent_id: str, parent_type: str, data: dict[Any, Any]) -> Parent:
    attempt = _number(data.get("parent_attempt"), "parent_attempt")
    return Parent(parent_id, parent_type, min(attempt or 1, given.MOST_ATTEMPTS))


def _read_texts(texts: dict[str, str], data: dict[Any, Any], out: Carrier) -> None:
    take = texts.get
    out.system, out.job_id = take("system", ""), take("id", "")
    out.job_type, out.queue = take("type", ""), take("queue", "")
    parent_id = take("parent_id", "")
    if parent_id:
        out.parent = _parent(parent_id, take("parent_type", ""), data)
    workflow_id = take("workflow", "")
    if workflow_id:
        if _TRACE_ID.fullmatch(workflow_id):
            out.fields["workflow_id"] = workflow_id
        else:
            warn(_BROKEN, "workflow")
    group_id = take("group", "")
    if group_id:
        out.fields["group_id"] = group_id


def job_from(carrier: Carrier, defaults: Mapping[str, Any]) -> Job:
    """Return the attempt that a carrier and what the queue library knows (which wins) describe together."""
    said = defaults.get("attempt")
    attempt = max((None if said == "" else given.count(said, "attempt")) or 1, carrier.attempt)
    fields: dict[str, Any] = {
        "system": carrier.system or "custom",
        "job_id": carrier.job_id,
        "queue": carrier.queue,
        "parent": carrier.parent,
        **carrier.fields,
    }
    if attempt > carrier.attempt and carrier.known:
        # Somebody who knows nothing of carriers re-published the job: the times in it are an older attempt's.
        fields["published_at"] = fields["due_at"] = None
    if defaults.get("redelivered"):
        attempt += 1
        fields["published_at"] = None
    values = defaults.values()
    if None in values or "" in values:
        for key, value in defaults.items():
            if value is not None and value != "":
                fields[key] = value
    else:
        fields.update(defaults)
    # A job's type and first queue are those of its first publication.
    fields["job_type"] = carrier.job_type or fields.get("job_type") or UNKNOWN
    fields["attempt"] = attempt
    job = Job(**fields)
    if carrier.queue and carrier.queue != job.queue:
        job.first_queue = carrier.queue
    return job


def _mapping(raw: Any) -> dict[Any, Any] | None:
    """Return the fields of a carrier, None where it is none, or larger than any carrier is."""
    if type(raw) is not dict:
        if isinstance(raw, (bytes, bytearray)):
            raw = bytes(raw).decode(errors="replace") if len(raw) <= MAX_SIZE else None
        if isinstance(raw, str):
            try:
                raw = json.loads(raw) if len(raw) <= MAX_SIZE else None
            except (ValueError, RecursionError):
                return None
        if not isinstance(raw, Mapping):
            return None
        raw = dict(islice(raw.items(), MAX_FIELDS + 1))
    if len(raw) > MAX_FIELDS:
        return None
    try:
        size = sum(map(len, raw)) + sum(map(len, raw.values()))
    except TypeError:  # a key or value that is no text
        size = sum(len(part) for pair in raw.items() for part in pair if isinstance(part, (str, bytes)))
    if size > MAX_SIZE:
        return None
    if type(next(iter(raw), "")) is bytes:  # a hash as Redis returns it
        raw = {_decoded(key): _decoded(value) for key, value in raw.items()}
    return raw  # type: ignore[no-any-return]


def _decoded(part: Any) -> Any:
    return part.decode(errors="replace") if isinstance(part, bytes) else part


def _span_context(data: Mapping[Any, Any], key: str, state: object) -> SpanContext | None:
    text = data.get(key)
    if text is None:
        return None
    context = parse_traceparent(text, state)
    if context is None:
        warn(_BROKEN, key)
    return context


def _text(value: object, key: str) -> str:
    if type(value) is str and len(value) <= MAX_TEXT:
        return value
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _INT64:
        return str(value)
    warn(_BROKEN, key)
    return ""


def _number(value: object, key: str) -> int | None:
    if type(value) is str and len(value) < 5 and value.isascii() and value.isdigit():  # as counts are
        return int(value)
    if value is None:
        return None
    if isinstance(value, str) and len(value) <= 19 and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _INT64:
        warn(_BROKEN, key)
        return None
    return int(value)


def _time(value: object, key: str) -> int | None:
    if type(value) is str and len(value) == 19 and value.isascii() and value.isdigit():  # as unix ns are since 2001
        usual = int(value)
        if usual <= times.LATEST:
            return usual
    number = _number(value, key)
    if number is None or times.EARLIEST <= number <= times.LATEST:
        return number
    return times.deadline(number, key) if key in _DEADLINES else times.moment(number, key)
