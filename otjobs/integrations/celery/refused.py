"""Celery messages that no code can run: each is a job that ended, rejected, before it started."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otjobs.faults import guard
from otjobs.integrations import _base as base
from otjobs.integrations.celery import endings, replace
from otjobs.integrations.celery.message import message_of

if TYPE_CHECKING:
    from collections.abc import Callable


def unreadable(wrapped: Callable[..., Any], consumer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Report a message that no code can run: unknown task, invalid, not to be decoded (of `Consumer.on_*`)."""
    seen, reason = None, ""
    with guard("an unreadable job could not be reported"):
        given = [*args, *kwargs.values()]
        message = next((one for one in given if hasattr(one, "delivery_info")), None)
        error = next((one for one in given if isinstance(one, BaseException)), None)
        reason = "NotRegistered" if isinstance(error, KeyError) else type(error).__name__
        seen = _Message.of(message)
    if seen is None:
        return wrapped(*args, **kwargs)
    ending, run = endings.UNREADABLE, None
    try:
        with base.observed(
            lambda: message_of(seen, seen.name, seen.id, worker=str(consumer.hostname), app=consumer.app),
            ending.outcome,
            error_type=reason,
            dead_letter=ending.dead_letter,
        ) as run:
            return wrapped(*args, **kwargs)
    finally:
        if run is not None:
            with guard("an unreadable job could not be reported"):
                replace.ended(seen, ending.outcome, reason)


class _Message:
    """A broker message, seen like a task request."""

    def __init__(self, message: Any, name: str, job_id: str) -> None:
        self.headers = message.headers
        self.delivery_info = message.delivery_info or {}
        self.name, self.id = name, job_id

    @classmethod
    def of(cls, message: Any) -> _Message | None:
        """Return the message, None where it is no task's: whose job that is nobody knows."""
        headers = getattr(message, "headers", None)
        name, job_id = (headers.get("task"), headers.get("id")) if isinstance(headers, dict) else (None, None)
        return cls(message, name, job_id) if isinstance(name, str) and isinstance(job_id, str) else None
