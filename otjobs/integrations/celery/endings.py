"""How a Celery attempt ended, in one place: what Celery says, in the words of docs/reference/readings.md.

The process that runs an attempt and the main process that watches it both ask here. The table in docs/howto/celery.md
lists every case.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from otjobs.attributes import Outcome

from otjobs.integrations._base import is_last


@dataclass(frozen=True, slots=True)
class Ending:
    """What became of one attempt."""

    outcome: Outcome
    error_type: str = ""
    dead_letter: bool = False
    expected: bool = False
    """The application declared this failure expected (`Task.throws`)."""
    error: BaseException | None = field(default=None, compare=False)

    @property
    def final(self) -> bool:
        """True when the job does not run again."""
        return self.outcome != "retry"

    def without_error(self) -> Ending:
        """Return the same without the exception, which may not survive a pickle."""
        return replace(self, error=None)


SUCCESS: Final = Ending("success")
EXPIRED: Final = Ending("expired")
REVOKED: Final = Ending("cancelled", "Revoked")
TERMINATED: Final = Ending("cancelled", "Terminated")
TIMED_OUT: Final = Ending("failure", "TimeLimitExceeded")
LOST: Final = Ending("lost", "WorkerLostError")
STOPPED: Final = Ending("lost", "WorkerTerminate")
UNREADABLE: Final = Ending("rejected", dead_letter=True)


@dataclass(slots=True)
class Run:
    """What happened during a run, beside what Celery says at its end."""

    max_attempts: int | None = None
    republished: bool = False
    """The next attempt was published: by a retry, or by a replacement."""
    retried: bool = False
    """`Task.retry` was called, and not refused."""
    cause: BaseException | None = None
    """The exception that this retry was for."""
    refused: bool = False
    """Celery refused a retry."""
    in_child: bool = False
    """It is a pool child that runs it, whose main process decides about every end but a normal one."""


RUN: Final = "otjobs_run"
"""Where a task request has its `Run`."""


def of_run(task: Any, run: Run, state: str | None, error: BaseException | None, flying: BaseException | None) -> Ending:
    """Return how a run ended, for the process that ran it.

    Args:
        task: whose request still is the attempt's.
        run: what is known of the run.
        state: Celery's; None where an exception went past Celery's handling.
        error: the exception that Celery handled.
        flying: the exception that goes past Celery's handling, if there is one.
    """
    if flying is not None and (state in (None, "SUCCESS") or _is(flying, "Reject")):
        # Celery fails a job whose result it cannot store, and whose next step it cannot publish.
        state, error = _state_of(flying), flying
    if run.republished:
        handled = state == "FAILURE" and error is not flying
        cause = error if handled else run.cause or _cause(error) or (error if state == "FAILURE" else None)
        return Ending("retry", _name(cause) or ("Retry" if state == "RETRY" else ""), error=cause)
    if state == "SUCCESS":
        return SUCCESS
    if state in ("IGNORED", "REJECTED") and run.in_child and not _can_be_sent(error):
        # The main process receives another exception in its place, and fails the job.
        return _failed(task, run, Ending("failure", "MaybeEncodingError"))
    if state == "IGNORED":
        return SUCCESS
    if state == "RETRY":
        cause = run.cause or _cause(error)
        if task.request.is_eager and flying is None and getattr(error, "sig", None) is not None:
            return Ending("retry", _name(cause) or "Retry", error=cause)  # Celery runs it next
        error = cause or error  # nothing was published: the job does not run again
    if state == "REJECTED":
        return rejected(error, returns=bool(task.acks_late and not task.request.is_eager))
    if error is not None and not isinstance(error, Exception):
        return _interrupted(task, error)
    return _failed(task, run, Ending("failure", _name(error) or "Failure", error=error))


def of_process(error: Any, *, returns: bool) -> Ending:
    """Return how an attempt ended whose process delivered no result, for the main process.

    Args:
        error: the exception that the pool gives in place of a result.
        returns: a message that is rejected with requeue runs again, as it was not acknowledged.
    """
    error = unwrapped(error)
    if _is(error, "Reject"):
        return rejected(error, returns=returns)
    if _is(error, "Ignore"):
        return SUCCESS
    return {"Terminated": TERMINATED, "WorkerLostError": LOST}.get(
        _name(error), Ending("failure", _name(error) or "WorkerLostError")
    )


def of_stopped_worker(request: Any, *, disconnected: bool = False) -> Ending:
    """Return how an attempt ended that was killed with its worker, or for a lost connection to the broker."""
    returns = request.task.acks_late and not request.acknowledged
    return Ending("retry" if returns else "lost", "ConnectionLost" if disconnected else "WorkerTerminate")


def of_message(ending: Ending, *, republished: bool, set_aside: bool) -> Ending:
    """Return how an attempt ended whose message Celery puts back, publishes anew or sets aside."""
    if republished:
        return replace(ending, outcome="retry", dead_letter=False)
    return replace(ending, dead_letter=ending.final and (ending.dead_letter or set_aside))


def rejected(error: Any, *, returns: bool) -> Ending:
    """Return how an attempt ended that raised `Reject`: a message acknowledged before the run cannot go back."""
    if returns and getattr(error, "requeue", False):
        return Ending("retry", "Reject")
    return Ending("rejected", "Reject", dead_letter=True)


def unwrapped(error: Any) -> BaseException | None:
    """Return the exception inside what billiard sends."""
    found = getattr(error, "exception", error)
    found = getattr(found, "exc", found) if type(found).__name__ == "ExceptionWithTraceback" else found
    return found if isinstance(found, BaseException) else None


def _failed(task: Any, run: Run, ending: Ending) -> Ending:
    exhausted = is_last((task.request.retries or 0) + 1, run.max_attempts)
    throws: Any = getattr(task, "throws", None) or ()
    return replace(
        ending,
        dead_letter=run.refused or exhausted or _sets_aside(task),
        expected=isinstance(ending.error, tuple(throws) if isinstance(throws, list) else throws),
    )


def _sets_aside(task: Any) -> bool:
    """Tell whether Celery rejects the message of a failed job, rather than acknowledging it."""
    acks = getattr(task, "acks_on_failure", None)  # Celery 5.7
    if acks is None:
        acks = getattr(task, "acks_on_failure_or_timeout", None)
    return bool(task.acks_late and acks is False and not task.request.is_eager)


def _interrupted(task: Any, error: BaseException) -> Ending:
    """Return how an attempt ended that a thread or a greenlet was made to leave."""
    if _name(error) == "GreenletExit":
        return TERMINATED
    if _name(error) == "Timeout" and type(error).__module__.partition(".")[0] in ("gevent", "eventlet"):
        limit = (task.request.timelimit or (None,))[0] or task.time_limit
        if limit:
            acks = getattr(task, "acks_on_timeout", None)
            if acks is None:
                acks = getattr(task, "acks_on_failure_or_timeout", None)
            return replace(TIMED_OUT, outcome="retry") if task.acks_late and acks is False else TIMED_OUT
    return Ending("failure", _name(error), error=error)


def _state_of(error: BaseException) -> str:
    return next((state for state, name in _STATES if _is(error, name)), "FAILURE")


_STATES: Final = (("REJECTED", "Reject"), ("IGNORED", "Ignore"), ("RETRY", "Retry"))


def _is(error: Any, name: str) -> bool:
    """Tell whether it is Celery's exception of that name, without importing Celery."""
    return any(c.__name__ == name and c.__module__ == "celery.exceptions" for c in type(error).__mro__)


def _cause(error: Any) -> BaseException | None:
    found = getattr(error, "exc", None)
    return found if isinstance(found, BaseException) else None


def _name(error: BaseException | None) -> str:
    return "" if error is None else type(error).__name__


def _can_be_sent(error: Any) -> bool:
    try:
        pickle.dumps(error)
    except Exception:
        return False
    return True
