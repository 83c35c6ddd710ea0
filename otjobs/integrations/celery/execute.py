"""Celery's running side: the execute span, from `task_prerun` to `task_postrun` in the process that runs the task."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as otel_context

from otjobs.execution import Execution, running_here
from otjobs.faults import guard, note
from otjobs.integrations import _base as base
from otjobs.integrations.celery import batch, canvases, eager, endings, replace, reports
from otjobs.integrations.celery.endings import RUN
from otjobs.integrations.celery.message import SYSTEM, attempts, message_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_RUNNING: Final = "otjobs_execution"

in_pool_child = False
"""True in the child processes of a prefork pool."""


class _Running:
    """What a task request keeps from `task_prerun` to `task_postrun`."""

    __slots__ = ("executions", "outer", "run")

    def __init__(self, executions: Sequence[Execution], run: base.running | None = None) -> None:
        self.executions = executions
        """One; none of a job that is left untraced; those of all messages of a batch."""
        self.run = run
        """That of the only message."""
        self.outer = sys.exc_info()[1]
        """An exception that is handled around the run, which is not the run's."""


def prerun(task_id: str = "", task: Any = None, args: Any = (), **_: Any) -> None:
    """Start the execute span and make it current (signal `task_prerun`)."""
    try:
        request = task.request
        request.__dict__[RUN] = endings.Run(in_child=in_pool_child)
        messages = batch.messages(request, args)
        if messages:
            request.__dict__[_RUNNING] = _Running(_start_batch(messages, task))
            return
        run = base.running(lambda: message_of(request, task.name, task_id, app=task.app, task=task))
        run.begin()
        request.__dict__[_RUNNING] = _Running(() if run.execution is None else (run.execution,), run)
        if run.execution is not None:
            canvases.header_runs(request, run.execution)
    except Exception as error:
        note("an execution could not be traced", error)


def _start_batch(messages: Sequence[Any], task: Any) -> list[Execution]:
    """Start an attempt for each message; what the run dispatches belongs to the first."""
    started = []
    for one in messages:
        message = message_of(one, task.name, one.id, app=task.app, task=task)
        if not message.excluded:
            carrier, job = message.attempt()
            started.append(Execution(job, carrier, cpu=False))
    for execution in reversed(started):
        execution.activate()
        if execution is not started[0]:
            execution.deactivate()
    return started


def postrun(task_id: str = "", task: Any = None, retval: Any = None, state: str | None = None, **_: Any) -> None:
    """End the execute span with what became of the attempt (signal `task_postrun`)."""
    try:
        request = task.request
        running = request.__dict__.pop(_RUNNING, None) or _still_current(task_id)
        if running is None:
            return
        if running.run is not None:
            running.run.leave()
        flying = sys.exc_info()[1]
        if flying is running.outer:
            flying = None
        error = retval if isinstance(retval, BaseException) else None
        run = request.__dict__.pop(RUN, None) or endings.Run(in_child=in_pool_child)
        ending = None
        for execution in running.executions:
            ending = _end(execution, task, run, state, error, flying)
        if not running.executions:
            run.republished = run.republished or run.retried
            ending = endings.of_run(task, run, state, error, flying)
        if ending is None or len(running.executions) > 1:
            return
        if state == "SUCCESS" and (ending is endings.SUCCESS or ending == endings.SUCCESS):
            reports.say_nothing()
            return
        stops = ending.final and (state != "SUCCESS" or flying is not None)
        if stops:
            replace.ended(request, ending.outcome, ending.error_type)
        reports.say(request.id, running.executions[0] if running.executions else None, ending, stops=stops)
    except Exception as fault:
        note("an execution could not be ended", fault)


def _still_current(task_id: str) -> _Running | None:
    """Return what runs, where the task has emptied its own request."""
    execution = running_here(SYSTEM, task_id, otel_context.get_current())
    if execution is None or execution.ended:
        return None
    running = _Running((execution,))
    running.outer = None
    return running


def _end(
    execution: Execution,
    task: Any,
    run: endings.Run,
    state: str | None,
    error: BaseException | None,
    flying: BaseException | None,
) -> endings.Ending | None:
    """End an attempt and return how; None where that is left to the main process."""
    run.republished = run.republished or execution.outcome == "retry"
    run.max_attempts = execution.job.max_attempts
    if in_pool_child and state is None and not run.republished and not isinstance(flying, Exception):
        # Torn down by a hard time limit, by a revocation or by the task itself: only the main process knows which.
        execution.abandon()
        return None
    ending = endings.of_run(task, run, state, error, flying)
    if ending.outcome == "retry" and not run.republished and task.request.is_eager:
        eager.retry_follows(execution)
    if ending is endings.SUCCESS or ending == endings.SUCCESS:
        execution.dead_letter = False
        execution.end("success")  # unless the task itself has said otherwise
        if not execution.outcome:
            return endings.SUCCESS
        return endings.Ending(execution.outcome or "success", execution.error_type)
    execution.set_outcome(
        ending.outcome, error=ending.error, error_type=ending.error_type, dead_letter=ending.dead_letter
    )
    execution.end(expected=ending.expected)
    return ending


def retry(wrapped: Callable[..., Any], task: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Note a limit given to this retry, its cause, and whether Celery refuses it (wrapper of `Task.retry`)."""
    run = None
    with guard("a retry could not be followed"):
        run = task.request.__dict__.get(RUN)
        given = base.arguments(wrapped, args, kwargs)
        running = task.request.__dict__.get(_RUNNING)
        if running is not None and given["max_retries"] is not None:
            for execution in running.executions:
                execution.limit_attempts(attempts(given["max_retries"]))
        if run is not None:
            run.cause = given["exc"] if isinstance(given["exc"], BaseException) else None
    try:
        result = wrapped(*args, **kwargs)
    except BaseException as error:
        if run is not None:
            kind = type(error).__name__
            run.retried, run.refused = kind == "Retry", kind not in ("Retry", "Reject")
        raise
    if run is not None:
        run.retried = True
    return result
