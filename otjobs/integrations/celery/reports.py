"""What the process that ran an attempt tells the main process: how it ended, and which span stands for it.

The result that a pool child sends names an exception at most. That is too little to know whether a retry was published,
a job was replaced, or its retries are exhausted. So the process that ran the attempt decides, and its words travel with
the result, as a runtime that is more than a number. The main process reads them, and gives Celery the plain number.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from otjobs.faults import guard
from otjobs.traceparent import format_traceparent

if TYPE_CHECKING:
    from collections.abc import Callable

    from otjobs.execution import Execution
    from otjobs.integrations.celery.endings import Ending


@dataclass(frozen=True, slots=True)
class Told:
    """The end of an attempt that did not simply return."""

    job_id: str
    ending: Ending
    stops: bool
    """Nothing that follows the job in a canvas is published."""
    traceparent: str
    workflow_id: str
    retry_ready_at: int | None
    """When the next attempt is ready, unix ns; None where there is none, or another job publishes it."""


class _Runtime(float):
    """Celery's runtime of an attempt, with what was told of its end."""

    told: Told
    plain: float | None


_last: ContextVar[Told | None] = ContextVar("otjobs-celery-told", default=None)


def say(job_id: str, execution: Execution | None, ending: Ending, *, stops: bool) -> None:
    """Tell how the attempt that this thread has just run ended; it has no execution where it is left untraced."""
    _last.set(
        Told(
            job_id=job_id,
            ending=ending.without_error(),
            stops=stops,
            traceparent="" if execution is None else format_traceparent(execution.span.get_span_context()),
            workflow_id="" if execution is None else execution.workflow_id,
            retry_ready_at=None if execution is None else execution.retry_ready_at,
        )
    )


def say_nothing() -> None:
    """Forget the attempt before: this one simply returned."""
    if _last.get() is not None:
        _last.set(None)


def prepare_result(wrapped: Callable[..., Any], _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Send the words with the result (wrapper of billiard's `Worker.prepare_result`, in a pool child)."""
    result = wrapped(*args, **kwargs)
    with guard("the end of a job could not be told to the main process"):
        told = _last.get()
        if told is not None:
            _last.set(None)
            if type(result) is tuple and len(result) == 3:
                runtime = _Runtime(result[2] or 0.0)
                runtime.told, runtime.plain = told, result[2]
                return (*result[:2], runtime)
    return result


def hear(job_id: str, result: Any) -> tuple[Told | None, Any]:
    """Return what was told of an attempt, and its result as Celery made it."""
    if type(result) is not tuple or len(result) != 3:
        return None, result
    runtime = result[2]
    if isinstance(runtime, _Runtime):
        return runtime.told, (*result[:2], runtime.plain)
    told = _last.get()  # in pools without processes
    if told is None:
        return None, result
    _last.set(None)
    return (told if told is not None and told.job_id == job_id else None), result
