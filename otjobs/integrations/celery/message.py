"""Celery's messages: where the carrier is in them, and their times and limits in our words."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import baggage, trace

from otjobs import given as counted
from otjobs import propagation, times
from otjobs.carrier import decode, parse_traceparent

if TYPE_CHECKING:
    from opentelemetry.context import Context

SYSTEM: Final = "celery"
HEADER: Final = "otjobs"
PASSING: Final = "otjobs_passing"
"""The carrier of an untraced job: that of the job above it."""
RECEIVED: Final = "otjobs_received_at"
WAITING: Final = "otjobs_waiting"
"""The carriers of the replaced jobs that go on after this message, by job id."""
W3C: Final = ("traceparent", "tracestate", "baggage")
_ZONED_FROM, _ZONED_TO = 1900, 2400
"""Years in which a zone may tell; times far beyond them are moved to the edge in any zone."""


def beside_carrier() -> tuple[str, ...]:
    """Return the headers that stand beside the carrier: the W3C ones, and those of the application's propagators."""
    return (*W3C, *(propagation.fields() - set(W3C))) if propagation.others() else W3C


def put(headers: dict[str, Any], carrier: dict[str, str], old: object = None, *, name: str = HEADER) -> None:
    """Write the carrier into message headers, with those of other propagators beside it, for other workers.

    Args:
        headers: those of the message.
        carrier: the new carrier.
        old: the carrier that the headers had, of an earlier publication; what the user gave is not in it, and stays.
        name: the carrier's header.
    """
    headers[name] = carrier
    before = old if isinstance(old, dict) else {}
    beside = beside_carrier()
    given = {key for key in beside if key in headers and headers[key] != before.get(key)}
    if "traceparent" in given:
        given.add("tracestate")  # ours would not belong to it
    for key in beside:
        if key in given:
            continue
        if key in carrier:
            headers[key] = carrier[key]
        else:
            headers.pop(key, None)


def given_context(headers: object, context: Context) -> Context:
    """Return the context that the user put into headers, where no span is current; else the current one.

    Without a span of its own, a process that relays what others wrote (an outbox, a webhook) continues their traces.
    """
    if not isinstance(headers, dict) or "traceparent" not in headers:
        return context
    if trace.get_current_span(context).get_span_context().is_valid:
        return context
    given = parse_traceparent(headers["traceparent"], headers.get("tracestate"))
    if given is None:
        return context
    carrier = decode({key: headers[key] for key in beside_carrier() if key in headers})
    if not baggage.get_all(context):
        for key, value in baggage.get_all(carrier.context).items():
            context = baggage.set_baggage(key, value, context)
    return trace.set_span_in_context(trace.NonRecordingSpan(given), context)


def header(request: Any, name: str) -> Any:
    """Return a message header of a task request, in a child (`Context`) or in the main process (`Request`)."""
    found = request.__dict__.get(name)
    if found is not None:
        return found
    for source in ("headers", "request_dict"):
        value = getattr(request, source, None)
        if isinstance(value, dict) and value.get(name) is not None:
            return value[name]
    return None


def registered(app: Any, name: str) -> Any:
    """Return the task of this name as far as it is registered; `app.tasks` would finalize the application."""
    return getattr(app, "_tasks", {}).get(name)


def max_attempts(task: Any) -> int | None:
    """Return how many attempts a job of this task may have, None where that is unknown or without limit."""
    if task is None:
        return None
    retries = getattr(task, "max_retries", None)
    own = getattr(task, "retry_kwargs", None)  # of `autoretry_for`
    if isinstance(own, dict):
        retries = own.get("max_retries", retries)
    return attempts(retries)


def attempts(retries: Any) -> int | None:
    """Return how many attempts that many retries allow, None for no limit."""
    if isinstance(retries, float) and math.isinf(retries):
        return None
    found = counted.count(retries, "max_retries", least=0)
    return None if found is None else found + 1


def timestamp(value: Any, app: Any) -> int | None:
    """Return an ISO time, datetime or number of seconds since 1970 as unix ns, None if it is none.

    A time without zone is the given application's, as Celery reads it; UTC where that is not known.
    """
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if isinstance(value, datetime):
        if value.tzinfo is None and _ZONED_FROM <= value.year <= _ZONED_TO:
            from celery.utils.time import make_aware

            value = make_aware(value, UTC if app is None else app.timezone)
    elif isinstance(value, (int, float)):
        value = float(value) * 1e9
    else:
        return None
    return times.deadline(value, "the ETA or expiry of a Celery message")
