"""Replaced jobs: a job that a canvas replaces goes on as the step that has its id, its next attempt.

Nothing is written into the canvas. Each message that leads to that step, through its chain or the body of its chord,
carries the next attempt's carrier in a header of its own, so whoever publishes the step has it. Where such a message
ends without going on, the step can never run: the job ends there, and whoever sees that reports it.
"""

from __future__ import annotations

import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as otel_context

from otjobs import clock
from otjobs.carrier import decode, job_from
from otjobs.elsewhere import ended_elsewhere
from otjobs.execution import Execution, running_here
from otjobs.faults import guard
from otjobs.integrations.celery.endings import RUN
from otjobs.integrations.celery.message import SYSTEM, WAITING, header

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from otjobs.attributes import Outcome

UNLOCK: Final = "celery.chord_unlock"
_MAX_WAITING: Final = 16
"""A replacement inside a replacement adds one; more than this is no canvas that anybody wrote."""
_MAX_DEPTH: Final = 64
_ENDS_AS: Final[dict[str, Outcome]] = {"cancelled": "cancelled", "expired": "expired", "success": "cancelled"}
"""What becomes of the replaced job where a step ends for good; a step that was ignored calls the others off."""

_replacing: ContextVar[dict[str, Any] | None] = ContextVar("otjobs-celery-replacing", default=None)


def on_replace(wrapped: Callable[..., Any], task: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Let the step of a replacement that has the job's id be its next attempt (wrapper of `Task.on_replace`)."""
    from celery.exceptions import Ignore

    execution, token = None, None
    with guard("a replaced job could not be followed"):
        execution = running_here(SYSTEM, task.request.id, otel_context.get_current())
        if execution is not None:
            token = _replacing.set({execution.job.job_id: execution.next_carrier(identity=False, published_later=True)})
    replaced = False
    try:
        result = wrapped(*args, **kwargs)
        replaced = True
    except Ignore:  # published
        replaced = True
        raise
    finally:
        if token is not None:
            _replacing.reset(token)
        if replaced:
            _note_replaced(task.request, execution)
    return result


def _note_replaced(request: Any, execution: Execution | None) -> None:
    with guard("a replaced job could not be followed"):
        run = request.__dict__.get(RUN)
        if run is not None:
            run.republished = True
        if execution is not None:
            execution.set_outcome("retry")


def pass_on(headers: dict[str, Any], job_type: str, body: Any) -> dict[str, Any]:
    """Write into a message which replaced jobs wait for it, and return all that its publisher knows of.

    Args:
        headers: of the message that is about to be published.
        job_type: the name of its task.
        body: what it will contain, in either protocol.
    """
    old = headers.pop(WAITING, None)  # a retry copies the headers of its message
    known = {**_readable(old), **_of_running(), **(_replacing.get() or {})}
    if known:
        kept = {job_id: known[job_id] for job_id in _ids(_steps(job_type, body)) if job_id in known}
        if kept:
            headers[WAITING] = kept
    return known


def next_attempt(known: Mapping[str, Any], job_id: str, due_at: int | None) -> dict[str, str] | None:
    """Return the carrier of the replaced job whose step is published now, None where it is no such step."""
    kept = known.get(job_id)
    if not isinstance(kept, dict):
        return None
    found = {key: value for key, value in kept.items() if key != "due_at"}
    found["published_at"] = str(clock.now())
    if due_at is not None:
        found["due_at"] = str(due_at)
    return found


def ended(request: Any, outcome: str, error_type: str, *, at: int | None = None) -> None:
    """End the replaced jobs that wait for this message, which ended for good (at unix ns) and does not go on."""
    _end(_readable(header(request, WAITING)), outcome, error_type or ("Ignore" if outcome == "success" else ""), at)


def chord_failed(wrapped: Callable[..., Any], _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """End the replaced jobs that waited for a chord's body (wrapper of `Backend.chord_error_from_stack`)."""
    with guard("a replaced job could not be ended"):
        known = _of_running()
        if known:
            callback = args[0] if args else kwargs.get("callback")
            error = kwargs.get("exc", args[1] if len(args) > 1 else None) or sys.exc_info()[1]
            waiting = {job_id: known[job_id] for job_id in _ids((callback,)) if job_id in known}
            _end(waiting, "failure", type(getattr(error, "__cause__", None) or error).__name__)
    return wrapped(*args, **kwargs)


def _end(waiting: dict[str, Any], outcome: str, error_type: str, at: int | None = None) -> None:
    for job_id, kept in waiting.items():
        carrier = decode(kept)
        if not carrier.known:
            continue
        job = job_from(carrier, {"system": SYSTEM, "job_id": job_id, "job_type": carrier.job_type})
        now = job.published_at = clock.now() if at is None else at  # it never was; nobody waited for it in a queue
        found = _ENDS_AS.get(outcome, "failure")
        # A failure is observed, so that the attempt's own report counts where it does run after all.
        started_at = now if found == "failure" else None
        ended_elsewhere(job, carrier, found, error_type=error_type, started_at=started_at, ended_at=now)


def _of_running() -> dict[str, Any]:
    """Return what waits for the job that this process runs now."""
    state = sys.modules.get("celery._state")
    task = None if state is None else state.get_current_task()
    request = None if task is None else task.request
    return {} if request is None or request.called_directly else _readable(header(request, WAITING))


def _readable(found: Any) -> dict[str, Any]:
    return found if isinstance(found, dict) and len(found) <= _MAX_WAITING else {}


def _steps(job_type: str, body: Any) -> Iterator[Any]:
    """Yield the parts of a message that say what is published after it."""
    if isinstance(body, (tuple, list)) and len(body) == 3:
        args, _, later = body
    elif isinstance(body, dict):  # protocol 1
        args, later = body.get("args"), body
    else:
        return
    if isinstance(later, dict):
        yield from (later.get(key) for key in ("chain", "chord", "callbacks"))
    if job_type == UNLOCK and isinstance(args, (tuple, list)) and len(args) > 1:
        yield args[1]


def _ids(found: Iterable[Any], depth: int = 0) -> Iterator[str]:
    """Yield the ids of all jobs in frozen signatures."""
    for one in found:
        if depth > _MAX_DEPTH:
            return
        if isinstance(one, dict):
            options, kwargs = one.get("options"), one.get("kwargs")
            if isinstance(options, dict):
                yield str(options.get("task_id") or "")
                yield from _ids((options.get(key) for key in ("chain", "chord", "link")), depth + 1)
            if isinstance(kwargs, dict) and one.get("subtask_type"):
                yield from _ids((kwargs.get(key) for key in ("tasks", "header", "body")), depth + 1)
        elif type(one) in (list, tuple):  # not what is made lazily, which is the user's to make
            yield from _ids(one, depth + 1)
