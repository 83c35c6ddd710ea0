"""Celery's running side: the execute span, from `task_prerun` to `task_postrun` in the process that runs the task."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as otel_context

from otjobs import spans
from otjobs.carrier import Carrier, decode
from otjobs.config import settings
from otjobs.execution import execution_in
from otjobs.faults import guard
from otjobs.integrations.celery import batch, canvases, eager, endings, replace, reports
from otjobs.integrations.celery.endings import RUN
from otjobs.integrations.celery.message import (
    HEADER,
    PASSING,
    RECEIVED,
    SYSTEM,
    attempts,
    beside_carrier,
    header,
    max_attempts,
    timestamp,
)
from otjobs.integrations.celery.queues import delivered_queue, is_broadcast
from otjobs.untraced import untraced_context

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from otjobs.job import Job

_RUNNING: Final = "otjobs_execution"
_EXC_POSITION: Final = 2
_MAX_RETRIES_POSITION: Final = 6
"""Where `Task.retry(args, kwargs, exc, throw, eta, countdown, max_retries)` has its cause and its limit."""

in_pool_child = False
"""True in the child processes of a prefork pool."""


def read(request: Any, task_name: str, job_id: str, *, worker: str = "", app: Any = None) -> tuple[Carrier, Job]:
    """Return the carrier and the attempt that a task request (of the child or the main process) describes."""
    app = getattr(getattr(request, "task", None), "app", None) if app is None else app
    carrier = decode(header(request, HEADER))
    if not carrier.known:
        # A foreign trace goes on; its carrier knows nothing of attempts.
        carrier = decode({k: v for k in beside_carrier() if (v := header(request, k)) is not None} or None)
        carrier.known = False
    delivery = getattr(request, "delivery_info", None) or {}
    attempt = attempts(header(request, "retries") or 0) or 1
    received = header(request, RECEIVED)
    known: dict[str, Any] = {
        "system": SYSTEM,
        "job_type": task_name,
        "job_id": job_id,
        "queue": delivered_queue(app, delivery, carrier.queue),
        "attempt": attempt,
        "redelivered": bool(delivery.get("redelivered")),
        "received_at": received if isinstance(received, int) else None,
        "worker": worker or ("" if getattr(request, "is_eager", False) else getattr(request, "hostname", "")),
    }
    if not carrier.known or attempt > carrier.attempt:  # published by somebody who is not instrumented
        known["due_at"] = timestamp(header(request, "eta"), app)
        known["expires_at"] = timestamp(header(request, "expires"), app)
    if "group_id" not in carrier.fields:
        known["group_id"] = header(request, "group")
    if is_broadcast(app, delivery):
        known["broadcast"] = True
    return carrier, spans.job_from(carrier, known)


class _Running:
    """What a task request keeps from `task_prerun` to `task_postrun`."""

    __slots__ = ("executions", "outer", "token")

    def __init__(self, executions: Sequence[spans.Execution] = (), token: Any = None) -> None:
        self.executions = executions
        """One; none of a job that is left untraced; those of all messages of a batch."""
        self.token = token
        self.outer = sys.exc_info()[1]
        """An exception that is handled around the run, which is not the run's."""


def prerun(task_id: str = "", task: Any = None, args: Any = (), **_: Any) -> None:
    """Start the execute span and make it current (signal `task_prerun`)."""
    with guard("an execution could not be traced"):
        request = task.request
        request.__dict__[RUN] = endings.Run(in_child=in_pool_child)
        messages = batch.messages(request, args)
        if messages:
            request.__dict__[_RUNNING] = _Running(_start_batch(messages, task))
            return
        if settings().excludes(replace.original_type(request, task.name)):
            carried = header(request, PASSING) or header(request, HEADER)
            token = None if carried is None else otel_context.attach(untraced_context(carried))
            request.__dict__[_RUNNING] = _Running(token=token)
            return
        carrier, job = read(request, task.name, task_id, app=task.app)
        if job.max_attempts is None:
            job.max_attempts = max_attempts(task)
        execution = spans.Execution(job, carrier, cpu=_has_own_thread())
        execution.activate()
        request.__dict__[_RUNNING] = _Running((execution,))
        canvases.header_runs(request, execution)


def _start_batch(messages: Sequence[Any], task: Any) -> list[spans.Execution]:
    """Start an attempt for each message; what the run dispatches belongs to the first."""
    started = []
    for message in messages:
        if not settings().excludes(replace.original_type(message, task.name)):
            carrier, job = read(message, task.name, message.id, app=task.app)
            started.append(spans.Execution(job, carrier, cpu=False))
    for execution in reversed(started):
        execution.activate()
        if execution is not started[0]:
            execution.deactivate()
    return started


def postrun(task_id: str = "", task: Any = None, retval: Any = None, state: str | None = None, **_: Any) -> None:
    """End the execute span with what became of the attempt (signal `task_postrun`)."""
    with guard("an execution could not be ended"):
        request = task.request
        running = request.__dict__.pop(_RUNNING, None) or _still_current(task_id)
        if running is None:
            return
        if running.token is not None:
            otel_context.detach(running.token)
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
        if state == "SUCCESS" and ending == endings.SUCCESS:
            reports.say_nothing()
            return
        stops = ending.final and (state != "SUCCESS" or flying is not None)
        if stops:
            replace.ended(request, ending.outcome, ending.error_type)
        reports.say(request.id, running.executions[0] if running.executions else None, ending, stops=stops)


def _still_current(task_id: str) -> _Running | None:
    """Return what runs, where the task has emptied its own request."""
    execution = execution_in(otel_context.get_current())
    if execution is None or execution.job.job_id != task_id or execution.ended:
        return None
    running = _Running((execution,))
    running.outer = None
    return running


def _end(
    execution: spans.Execution,
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
    if ending == endings.SUCCESS:
        execution.dead_letter = False
        execution.end("success")  # unless the task itself has said otherwise
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
        limit = kwargs.get("max_retries", args[_MAX_RETRIES_POSITION] if len(args) > _MAX_RETRIES_POSITION else None)
        running = task.request.__dict__.get(_RUNNING)
        if running is not None and limit is not None:
            for execution in running.executions:
                execution.limit_attempts(attempts(limit))
        if run is not None:
            given = kwargs.get("exc", args[_EXC_POSITION] if len(args) > _EXC_POSITION else None)
            run.cause = given if isinstance(given, BaseException) else None
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


@functools.cache
def _has_own_thread() -> bool:
    """Tell whether a task has its thread for itself: not in a gevent or eventlet pool."""
    return not (_patched("gevent.monkey") or _patched("eventlet.patcher"))


def _patched(name: str) -> bool:
    module = sys.modules.get(name)
    if module is None:
        return False
    if name == "gevent.monkey":
        return bool(module.is_module_patched("threading"))
    return bool(module.is_monkey_patched("thread"))
