"""Celery's messages: their headers, and what they say of an attempt in our words."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from otjobs import given as counted
from otjobs import times
from otjobs.integrations._base import Message
from otjobs.integrations.celery.queues import delivered_queue, is_broadcast

if TYPE_CHECKING:
    from otjobs.carrier import Carrier

SYSTEM: Final = "celery"
RECEIVED: Final = "otjobs_received_at"
WAITING: Final = "otjobs_waiting"
"""The carriers of the replaced jobs that go on after this message, by job id."""
_ZONED_FROM, _ZONED_TO = 1900, 2400
"""Years in which a zone may tell; times far beyond them are moved to the edge in any zone."""


def message_of(
    request: Any, task_name: str, job_id: str, *, worker: str = "", app: Any = None, task: Any = None
) -> Message:
    """Return what a task request (of the child or the main process) says of its job and attempt."""
    task = getattr(request, "task", None) if task is None else task
    app = getattr(task, "app", None) if app is None else app
    field = partial(header, request)

    def known(carrier: Carrier) -> dict[str, Any]:
        delivery = getattr(request, "delivery_info", None) or {}
        out = {
            "system": SYSTEM,
            "job_type": task_name,
            "job_id": job_id,
            "queue": delivered_queue(app, delivery, carrier.queue),
            "attempt": attempts(field("retries") or 0) or 1,
            "redelivered": bool(delivery.get("redelivered")),
        }
        # What there is not is left out, rather than said to be nothing: then the rest is taken as it is.
        if isinstance(received := field(RECEIVED), int):
            out["received_at"] = received
        if found := worker or ("" if getattr(request, "is_eager", False) else getattr(request, "hostname", "")):
            out["worker"] = found
        if is_broadcast(app, delivery):
            out["broadcast"] = True
        if "max_attempts" not in carrier.fields and (most := max_attempts(task)) is not None:
            out["max_attempts"] = most
        if "group_id" not in carrier.fields and (group_id := field("group")):
            out["group_id"] = group_id
        return out

    def times_of_message() -> dict[str, Any]:
        return {"due_at": timestamp(field("eta"), app), "expires_at": timestamp(field("expires"), app)}

    return Message(task_name, field, known, {}, times_of_message)


def header(request: Any, name: str) -> Any:
    """Return a message header of a task request, in a child (`Context`) or in the main process (`Request`)."""
    own = request.__dict__
    if name in own:  # in a child, that is every header
        return own[name]
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
    if type(retries) is int and 0 <= retries < counted.MOST:
        return retries + 1
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
