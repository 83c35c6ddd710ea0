"""What only Celery's main process sees: attempts whose process died, jobs revoked or expired before they started.

The report of the process that ran an attempt counts; what stands here is written as observed. Celery announces some
ends twice (a hard time limit fails and then times out), so a request carries its end once it is known.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from otjobs import clock
from otjobs.execution import Execution
from otjobs.faults import guard, note
from otjobs.integrations.celery import endings, replace
from otjobs.integrations.celery.message import RECEIVED, WAITING, message_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otjobs.integrations.celery.endings import Ending

_END: Final = "_otjobs_end"


class _End:
    """The end of one attempt; its context is current while Celery handles it, so that errbacks are its children."""

    __slots__ = ("context", "ending", "execution", "requeued", "set_aside", "traced")

    def __init__(self, execution: Execution, ending: Ending) -> None:
        self.execution = execution
        self.ending = ending
        self.traced = True
        """False where the job is left untraced, and only a replaced job that waits for it matters."""
        self.requeued = self.set_aside = False
        execution.activate()
        self.context = otel_context.get_current()
        execution.deactivate()


_current: ContextVar[_End | None] = ContextVar("otjobs-celery-end", default=None)


def received(request: Any = None, **_: Any) -> None:
    """Note when the main process took the message, for the process that runs it (signal `task_received`)."""
    try:
        request.request_dict[RECEIVED] = clock.source()
    except Exception as error:
        note("a reception could not be noted", error)


def on_failure(wrapped: Callable[..., Any], request: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Report an attempt whose process died (wrapper of `Request.on_failure`)."""
    if kwargs.get("return_ok", args[2] if len(args) > 2 else False):
        return wrapped(*args, **kwargs)  # the task raised; the process that ran it reports
    ending = endings.LOST
    with guard("the reason of a failure is unknown"):
        given = args[0] if args else kwargs["exc_info"]
        ending = endings.of_process(given, returns=not request.acknowledged)
    with _observing(request, ending):
        return wrapped(*args, **kwargs)


def on_timeout(wrapped: Callable[..., Any], request: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Report an attempt that the hard time limit ends (wrapper of `Request.on_timeout`)."""
    if kwargs.get("soft", args[0] if args else False):
        return wrapped(*args, **kwargs)
    with _observing(request, endings.TIMED_OUT):
        return wrapped(*args, **kwargs)


def announce_revoked(wrapped: Callable[..., Any], request: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Report a revoked, expired or terminated job (wrapper of `Request._announce_revoked`)."""
    given = {**dict(zip(("reason", "terminated", "signum", "expired"), args, strict=False)), **kwargs}
    if given.get("expired"):
        ending = endings.EXPIRED
    else:
        ending = endings.TERMINATED if given.get("terminated") else endings.REVOKED
    with _observing(request, ending):
        return wrapped(*args, **kwargs)


def announce_cancelled(wrapped: Callable[..., Any], request: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Report an attempt that a cold shutdown or a lost broker connection kills (of `Request._announce_cancelled`).

    A message that was not acknowledged is delivered again; the others are lost with their process.
    """
    ending = endings.STOPPED
    with guard("the fate of a cancelled job is unknown"):
        # A shutdown announces no retry for what the broker delivers again; a reconnect does.
        emits = kwargs.get("emit_retry", args[0] if args else True)
        ending = endings.of_stopped_worker(request, disconnected=request.task.acks_late and emits)
    with _observing(request, ending):
        return wrapped(*args, **kwargs)


def success_was_stored(wrapped: Callable[..., Any], _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Note that an attempt had succeeded before its process died (wrapper of `Request._success_was_stored`)."""
    stored = wrapped(*args, **kwargs)
    end = _current.get()
    if stored and end is not None:
        end.ending = endings.SUCCESS
    return stored


def reject(wrapped: Callable[..., Any], request: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Note what becomes of a killed attempt's message (wrapper of `Request.reject`)."""
    end = _current.get()
    if end is not None and not request.acknowledged:
        end.requeued = bool(kwargs.get("requeue", args[0] if args else False))
        end.set_aside = not end.requeued
    return wrapped(*args, **kwargs)


def unfinished() -> None:
    """Report the attempts that the end of the worker leaves running and that nobody has announced."""
    from celery.worker import state

    for request in tuple(state.active_requests):
        with guard("an unfinished job could not be reported"):
            if not hasattr(request, _END):
                with _observing(request, endings.of_stopped_worker(request)):
                    pass


@contextmanager
def _observing(request: Any, ending: Ending) -> Iterator[None]:
    """Run Celery's handling of an end as the attempt's, and report that end the first time it is handled."""
    end = None
    with guard("the end of a job could not be observed"):
        end = _begin(request, ending)
    if end is None:
        yield
        return
    if _current.get() is end:  # one announcement inside another: the inner one knows more
        end.ending = ending
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
                _report(request, end)


def _begin(request: Any, ending: Ending) -> _End | None:
    known: _End | None = getattr(request, _END, None)
    if known is not None:
        return known
    message = message_of(request, request.name, request.id)
    excluded = message.excluded
    if excluded and message.field(WAITING) is None:
        return None
    carrier, job = message.attempt()
    started = getattr(request, "time_start", None)
    started_at = int(started * 1e9) if started else None
    execution = Execution(job, carrier, cpu=False, started_at=started_at, observed=started_at is not None)
    end = _End(execution, ending)
    if excluded:
        end.traced, end.context = False, message.untraced_context() or Context()
    setattr(request, _END, end)
    return end


def _report(request: Any, end: _End) -> None:
    execution = end.execution
    # What publishes a job once more while its end is handled (retry on worker lost) has said so on the execution.
    republished = end.requeued or execution.outcome == "retry"
    ending = endings.of_message(end.ending, republished=republished, set_aside=end.set_aside)
    execution.set_outcome(ending.outcome, error_type=ending.error_type, dead_letter=ending.dead_letter)
    if not end.traced:
        execution.abandon()
    execution.end(ended_at=None if execution.observed else execution.started_at)
    if ending.final and ending.outcome != "success":
        replace.ended(request, ending.outcome, ending.error_type)
