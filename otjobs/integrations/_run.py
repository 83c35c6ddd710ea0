"""One attempt of a job: where its process runs it, and where another process sees it end."""

from __future__ import annotations

import functools
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from opentelemetry import context as otel_context

from otjobs import attributes as a
from otjobs import threads
from otjobs.config import settings
from otjobs.execution import Execution, running_here
from otjobs.faults import guard, note
from otjobs.job import UNKNOWN
from otjobs.sdk import lifecycle
from otjobs.span_attributes import set_attributes
from otjobs.span_errors import is_cancellation
from otjobs.texts import bounded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otjobs.attributes import Outcome
    from otjobs.integrations._message import Message


class running:  # noqa: N801  (used like a statement: `with running(...):`)
    """Trace one attempt in the process that runs it, in a `with` or an `async with` block.

    A library that calls hooks before and after the run uses `begin` and `finish` instead.

    Args:
        read: returns the message.
        leaves: the process leaves right after the run, without its exit handlers: everything is sent at the end.
        cpu: the attempt has its thread for itself, so the thread's CPU time is its own.
    """

    __slots__ = ("_cpu", "_leaves", "_read", "_token", "execution")

    def __init__(self, read: Callable[[], Message], *, leaves: bool = False, cpu: bool = True) -> None:
        self._read, self._leaves, self._cpu = read, leaves, cpu
        self._token: Any = None
        self.execution: Execution | None = None
        """None where the job is left untraced."""

    def begin(self) -> None:
        """Start the execute span and make it current."""
        try:
            message = self._read()
            if message.excluded:
                context = message.untraced_context()
                self._token = None if context is None else otel_context.attach(context)
                return
            carrier, job = message.attempt()
            self.execution = Execution(job, carrier, cpu=self._cpu and has_own_thread())
            self.execution.activate()
        except Exception as error:
            note("an execution could not be traced", error)

    def leave(self) -> None:
        """Give the context back that was current before an untraced job."""
        if self._token is not None:
            token, self._token = self._token, None
            otel_context.detach(token)

    def finish(self, error: BaseException | None = None, *, expected: bool = False) -> None:
        """End the attempt by what is known of it: an outcome or an error that was noted wins over this error.

        It published its next attempt, was cancelled, failed (for good with its last attempt), or went well.

        Args:
            error: what the run raised.
            expected: the application declared this failure expected.
        """
        with guard("an execution could not be ended"):
            self.leave()
            run = self.execution
            if run is not None:
                found = run.error or error
                cancelled = is_cancellation(found)
                if found is not None and not cancelled and not run.outcome:
                    run.dead_letter = is_last(run.job.attempt, run.job.max_attempts)
                run.end("cancelled" if cancelled else "", error=found, expected=expected)
        if self._leaves:
            lifecycle.finish()

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(self, kind: object, error: BaseException | None, tb: object) -> None:
        self.finish(error)

    async def __aenter__(self) -> Self:
        self._cpu = False  # other tasks share the thread
        return self.__enter__()

    async def __aexit__(self, kind: object, error: BaseException | None, tb: object) -> None:
        self.finish(error)


def leaving(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that sends everything behind this one: its process leaves then, without its exit handlers."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        finally:
            lifecycle.finish()

    return run


def tell_type(run: Execution | None, job_type: str) -> None:
    """Name the attempt that runs here, where nobody could tell its job's type before; an excluded type ends its trace.

    Args:
        run: the attempt; one that has a type keeps it.
        job_type: '' where it is still unknown.
    """
    if run is None or not job_type or run.job.job_type != UNKNOWN:
        return
    with guard("the type of a job could not be told"):
        if settings().excludes(job_type):
            run.abandon()
            return
        run.job.job_type = job_type
        run.attempt_attributes[a.JOB_TYPE] = found = bounded(job_type)
        run.span.update_name(bounded(f"execute {found}"))
        set_attributes(run.span, {a.JOB_TYPE: found})


def is_last(attempt: int, most: int | None) -> bool:
    """Tell whether a failed attempt was the last of several: the job is set aside for good, a dead letter."""
    return most is not None and 1 < most <= attempt


def note_error(system: str, job_id: str, error: object) -> None:
    """Keep the exception of the job that runs here, which its library handles and does not let through."""
    with guard("the error of a job could not be noted"):
        run = running_here(system, job_id, otel_context.get_current())
        if run is not None and isinstance(error, BaseException):
            run.error = error


@contextmanager
def observed(
    read: Callable[[], Message],
    outcome: Outcome,
    *,
    error_type: str = "",
    dead_letter: bool = False,
    started_at: Callable[[], int | None] = lambda: None,
    ended_at: int | None = None,
) -> Iterator[Execution | None]:
    """Report the end of an attempt whose own process cannot, around the library's handling of that end.

    What the library publishes inside is dispatched by that attempt, and the job itself as its next attempt: then the
    outcome is retry.

    Args:
        read: returns the message.
        outcome: how the attempt ended.
        error_type: why.
        dead_letter: the job is set aside for good.
        started_at: returns when the attempt started, unix ns; None where it never did.
        ended_at: its last sign of life, unix ns, where that was long ago; now by default.
    """
    run = None
    with guard("the end of a job could not be observed"):
        message, began_at = read(), started_at()
        if not message.excluded:
            carrier, job = message.attempt()
            run = Execution(job, carrier, cpu=False, started_at=began_at, observed=began_at is not None)
            run.activate()
    try:
        yield run
    finally:
        if run is not None:
            with guard("the end of a job could not be reported"):
                again = run.outcome == "retry"
                run.set_outcome(
                    "retry" if again else outcome, error_type=error_type, dead_letter=dead_letter and not again
                )
                run.end(ended_at=ended_at if run.observed else run.started_at)


@functools.cache
def has_own_thread() -> bool:
    """Tell whether a job has its thread for itself: not in a gevent or eventlet pool."""
    return not threads.green()
