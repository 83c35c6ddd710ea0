"""Celery's messages: where the carrier is in them, and their queue, times and limits in our words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

SYSTEM: Final = "celery"
HEADER: Final = "otjobs"
PASSING: Final = "otjobs_passing"
"""The carrier of an untraced job: that of the job above it."""
RECEIVED: Final = "otjobs_received_at"
WAITING: Final = "otjobs_waiting"
"""The carriers of the replaced jobs that go on after this message, by job id."""
W3C: Final = ("traceparent", "tracestate", "baggage")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_queues: dict[tuple[str, str], str] = {}


def put(headers: dict[str, Any], carrier: dict[str, str], name: str = HEADER) -> None:
    """Write the carrier into message headers; the W3C ones stand beside it, for workers that know only those."""
    headers[name] = carrier
    for key in W3C:
        if key in carrier:
            headers[key] = carrier[key]
        else:
            headers.pop(key, None)


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


def max_attempts(task: Any) -> int | None:
    """Return how many attempts a job of this task may have, None where that is unknown or without limit."""
    if task is None:
        return None
    retries = getattr(task, "max_retries", None)
    own = getattr(task, "retry_kwargs", None)  # of `autoretry_for`
    if isinstance(own, dict):
        retries = own.get("max_retries", retries)
    return None if retries is None else int(retries) + 1


def timestamp(value: Any) -> int | None:
    """Return an ISO time, datetime or number of seconds since 1970 as unix ns, None if it is none.

    A time without zone is the application's, as Celery reads it.
    """
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if isinstance(value, datetime):
        if value.tzinfo is None:
            from celery import current_app
            from celery.utils.time import make_aware

            value = make_aware(value, current_app.timezone)
        span: timedelta = value - _EPOCH
        return ((span.days * 86_400 + span.seconds) * 1_000_000 + span.microseconds) * 1000
    return int(value * 1e9) if isinstance(value, (int, float)) else None


def queue_of_binding(exchange: str, routing_key: str) -> str:
    """Return the queue of this process's configuration that is bound so; without an exchange the key is its name."""
    if not exchange or exchange == routing_key:
        return routing_key or exchange
    found = _queues.get((exchange, routing_key))
    if found is None:
        from celery import current_app

        found = routing_key or exchange
        for name, queue in current_app.amqp.queues.items():
            bound = getattr(queue, "exchange", None)
            if getattr(bound, "name", "") == exchange and getattr(queue, "routing_key", "") == routing_key:
                found = str(name)
                break
        if len(_queues) < 1000:
            _queues[exchange, routing_key] = found
    return found
