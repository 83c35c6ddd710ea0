"""What only Celery's main process sees: attempts whose process died, jobs revoked or expired before they started.

The report of the process that ran an attempt counts; what stands here is written as observed. Celery announces some
ends twice (a hard time limit fails and then times out), so a request carries its end once it is known.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as otel_context

from otjobs import job as jobs
from otjobs import spans
from otjobs.config import settings
from otjobs.errors import guard
from otjobs.integrations import celery_done, celery_execute
from otjobs.integrations.celery_message import RECEIVED, max_attempts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_END: Final = "_otjobs_end"


class _End:
    """The end of one attempt; its context is current while Celery handles it, so that errbacks are its children."""

    __slots__ = ("context", "execution", "outcome", "reason", "requeued", "set_aside")

    def __init__(self, execution: spans.Execution, outcome: str, reason: str) -> None:
        self.execution = execution
        self.outcome = outcome
        self.reason = reason
        self.requeued = self.set_aside = False
        execution.activate()
        self.context = otel_context.get_current()
        execution.deactivate()


_current: ContextVar[_End | None] = ContextVar("otjobs-celery-end", default=None)


def received(request: Any = None, **_: Any) -> None:
    """Note when the main process took the message, for the process that runs it (signal `task_received`)."""
    with guard("a reception could not be noted"):
        request.request_dict[RECEIVED] = jobs.now()


def on_failure(wrapped: Callable[..., Any], request: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Report an attempt whose process died (wrapper of `Request.on_failure`)."""
    if kwargs.get("return_ok", args[2] if len(args) > 2 else False):
        with guard("a finished job could not be remembered"):
            celery_done.remember_raised(request, args[0] if args else kwargs["exc_info"])
        return wrapped(*args, **kwargs)  # the task raised; the process that ran it reports
    outcome, reason = "lost", "WorkerLostError"
    with guard("the reason of a failure is unknown"):
        outcome, reason = _meaning(args[0] if args else kwargs["exc_info"])
    with _observing(request, outcome, reason):
        return wrapped(*args, **kwargs)


def on_timeout(wrapped: Callable[..., Any], request: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Report an attempt that the hard time limit ends (wrapper of `Request.on_timeout`)."""
    if kwargs.get("soft", args[0] if args else False):
        return wrapped(*args, **kwargs)
    with _observing(request, "failure", "TimeLimitExceeded"):
        return wrapped(*args, **kwargs)


def announce_revoked(wrapped: Callable[..., Any], request: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Report a revoked, expired or terminated job (wrapper of `Request._announce_revoked`)."""
    given = {**dict(zip(("reason", "terminated", "signum", "expired"), args, strict=False)), **kwargs}
    if given.get("expired"):
        outcome, reason = "expired", ""
    else:
        outcome, reason = "cancelled", "Terminated" if given.get("terminated") else "Revoked"
    with _observing(request, outcome, reason):
        return wrapped(*args, **kwargs)


def announce_cancelled(wrapped: Callable[..., Any], request: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Report an attempt that a cold shutdown or a lost broker connection kills (of `Request._announce_cancelled`).

    A message that was not acknowledged is delivered again; the others are lost with their process.
    """
    outcome, reason = "lost", "WorkerTerminate"
    with guard("the fate of a cancelled job is unknown"):
        outcome = _fate(request)
        # A shutdown announces no retry for what the broker delivers again; a reconnect does.
        if request.task.acks_late and kwargs.get("emit_retry", args[0] if args else True):
            reason = "ConnectionLost"
    with _observing(request, outcome, reason):
        return wrapped(*args, **kwargs)


def success_was_stored(wrapped: Callable[..., Any], _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Note that an attempt had succeeded before its process died (wrapper of `Request._success_was_stored`)."""
    stored = wrapped(*args, **kwargs)
    end = _current.get()
    if stored and end is not None:
        end.outcome, end.reason = "success", ""
    return stored


def reject(wrapped: Callable[..., Any], request: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Note what becomes of a killed attempt's message (wrapper of `Request.reject`)."""
    end = _current.get()
    if end is not None and not request.acknowledged:
        end.requeued = bool(kwargs.get("requeue", args[0] if args else False))
        end.set_aside = not end.requeued
    return wrapped(*args, **kwargs)


def unfinished(reason: str = "WorkerTerminate") -> None:
    """Report the attempts that the end of the worker leaves running and that nobody has announced."""
    from celery.worker import state

    for request in tuple(state.active_requests):
        with guard("an unfinished job could not be reported"):
            if not hasattr(request, _END):
                with _observing(request, _fate(request), reason):
                    pass


def _fate(request: Any) -> str:
    return "retry" if request.task.acks_late and not request.acknowledged else "lost"


def _meaning(exc_info: Any) -> tuple[str, str]:
    """Return outcome and reason of what billiard says about a process that did not deliver a result."""
    error = getattr(exc_info, "exception", None)
    error = getattr(error, "exc", error)
    reason = type(error).__name__ if isinstance(error, BaseException) else "WorkerLostError"
    outcomes = {"Terminated": "cancelled", "WorkerLostError": "lost"}
    return outcomes.get(reason, "failure"), reason


@contextmanager
def _observing(request: Any, outcome: str, reason: str) -> Iterator[None]:
    """Run Celery's handling of an end as the attempt's, and report that end the first time it is handled."""
    end = None
    with guard("the end of a job could not be observed"):
        end = _begin(request, outcome, reason)
    if end is None:
        yield
        return
    if _current.get() is end:  # one announcement inside another: the inner one knows more
        end.outcome, end.reason = outcome, reason
        yield
        return
    token, context = _current.set(end), otel_context.attach(end.context)
    try:
        yield
    finally:
        otel_context.detach(context)
        _current.reset(token)
        with guard("the end of a job could not be reported"):
            if not end.execution.ended:
                _report(end)


def _begin(request: Any, outcome: str, reason: str) -> _End | None:
    known: _End | None = getattr(request, _END, None)
    if known is not None:
        return known
    if settings().excludes(request.name):
        return None
    carrier, job = celery_execute.read(request, request.name, request.id)
    if job.max_attempts is None:
        job.max_attempts = max_attempts(request.task)
    started = getattr(request, "time_start", None)
    started_at = int(started * 1e9) if started else None
    execution = spans.Execution(job, carrier, cpu=False, started_at=started_at, observed=started_at is not None)
    end = _End(execution, outcome, reason)
    setattr(request, _END, end)
    return end


def _report(end: _End) -> None:
    execution = end.execution
    # What publishes a job once more while its end is handled (retry on worker lost) has said so on the execution.
    outcome = "retry" if end.requeued or execution.outcome == "retry" else end.outcome
    execution.set_outcome(outcome, error_type=end.reason, dead_letter=end.set_aside and outcome != "retry")
    execution.end(ended_at=None if execution.observed else execution.started_at)
