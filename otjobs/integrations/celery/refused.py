"""Celery messages that no code can run: each is a job that ended, rejected, before it started."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otjobs.execution import Execution
from otjobs.faults import guard
from otjobs.integrations.celery import endings, replace
from otjobs.integrations.celery.message import message_of

if TYPE_CHECKING:
    from collections.abc import Callable


def unreadable(wrapped: Callable[..., Any], consumer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Report a message that no code can run: unknown task, invalid, not to be decoded (of `Consumer.on_*`)."""
    execution = None
    with guard("an unreadable job could not be reported"):
        given = [*args, *kwargs.values()]
        message = next((one for one in given if hasattr(one, "delivery_info")), None)
        error = next((one for one in given if isinstance(one, BaseException)), None)
        reason = "NotRegistered" if isinstance(error, KeyError) else type(error).__name__
        execution = _rejected(consumer, message, reason)
    try:
        return wrapped(*args, **kwargs)
    finally:
        if execution is not None:
            with guard("an unreadable job could not be reported"):
                execution.end(ended_at=execution.started_at)
                replace.ended(_Message(message), execution.outcome, execution.error_type)


def _rejected(consumer: Any, message: Any, reason: str) -> Execution | None:
    headers = getattr(message, "headers", None)
    name, job_id = (headers.get("task"), headers.get("id")) if isinstance(headers, dict) else (None, None)
    if not isinstance(name, str) or not isinstance(job_id, str):
        return None  # no task message: whose job that is nobody knows
    worker = str(getattr(consumer, "hostname", ""))
    seen = message_of(_Message(message), name, job_id, worker=worker, app=consumer.app)
    if seen.excluded:
        return None
    carrier, job = seen.attempt()
    execution = Execution(job, carrier, cpu=False)
    execution.activate()
    unreadable = endings.UNREADABLE
    execution.set_outcome(unreadable.outcome, error_type=reason, dead_letter=unreadable.dead_letter)
    return execution


class _Message:
    """A broker message, seen like a task request."""

    def __init__(self, message: Any) -> None:
        self.headers = message.headers
        self.delivery_info = message.delivery_info or {}
