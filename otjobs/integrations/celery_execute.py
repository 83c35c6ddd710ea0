"""Celery's running side: the execute span, from `task_prerun` to `task_postrun` in the process that runs the task."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as otel_context

from otjobs import spans
from otjobs.carrier import Carrier, decode
from otjobs.config import settings
from otjobs.errors import guard
from otjobs.inherit import execution_in, passage
from otjobs.integrations import celery_canvas, celery_eager
from otjobs.integrations.celery_message import (
    HEADER,
    PASSING,
    RECEIVED,
    SYSTEM,
    W3C,
    header,
    max_attempts,
    queue_of_binding,
    timestamp,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from otjobs.job import Job

_RUNNING: Final = "otjobs_execution"
_MAX_RETRIES_POSITION: Final = 6
"""Where `Task.retry(args, kwargs, exc, throw, eta, countdown, max_retries)` has its limit."""

in_pool_child = False
"""True in the child processes of a prefork pool."""


def read(request: Any, task_name: str, job_id: str, *, worker: str = "") -> tuple[Carrier, Job]:
    """Return the carrier and the attempt that a task request (of the child or the main process) describes."""
    carrier = decode(header(request, HEADER))
    if not carrier.known:
        # A foreign trace goes on; its carrier knows nothing of attempts.
        carrier = decode({k: v for k in W3C if (v := header(request, k)) is not None} or None)
        carrier.known = False
    delivery = getattr(request, "delivery_info", None) or {}
    attempt = int(header(request, "retries") or 0) + 1
    received = header(request, RECEIVED)
    known: dict[str, Any] = {
        "system": SYSTEM,
        "job_type": task_name,
        "job_id": job_id,
        "queue": _queue(delivery, carrier),
        "attempt": attempt,
        "redelivered": bool(delivery.get("redelivered")),
        "received_at": received if isinstance(received, int) else None,
        "worker": worker or ("" if getattr(request, "is_eager", False) else getattr(request, "hostname", "")),
    }
    if not carrier.known or attempt > carrier.attempt:  # published by somebody who is not instrumented
        known["due_at"] = timestamp(header(request, "eta"))
        known["expires_at"] = timestamp(header(request, "expires"))
    if "group_id" not in carrier.fields:
        known["group_id"] = header(request, "group")
    return carrier, spans.job_from(carrier, known)


def _queue(delivery: Any, carrier: Carrier) -> str:
    """Return the queue of a delivery, as far as its exchange and routing key tell; else that of the publication."""
    key, exchange = str(delivery.get("routing_key") or ""), str(delivery.get("exchange") or "")
    if not exchange or exchange == key:
        return key or carrier.queue
    found = queue_of_binding(exchange, key)
    return carrier.queue if found == key and carrier.queue else found


def prerun(task_id: str = "", task: Any = None, **_: Any) -> None:
    """Start the execute span and make it current (signal `task_prerun`)."""
    with guard("an execution could not be traced"):
        request = task.request
        if settings().excludes(task.name):
            carried = header(request, PASSING) or header(request, HEADER)
            if carried is not None:
                request.__dict__[_RUNNING] = otel_context.attach(passage(carried))
            return
        carrier, job = read(request, task.name, task_id)
        if job.max_attempts is None:
            job.max_attempts = max_attempts(task)
        execution = spans.Execution(job, carrier, cpu=_has_own_thread())
        execution.activate()
        request.__dict__[_RUNNING] = execution
        celery_canvas.header_runs(request, execution)


def postrun(task: Any = None, retval: Any = None, state: str | None = None, **_: Any) -> None:
    """End the execute span with what became of the attempt (signal `task_postrun`)."""
    with guard("an execution could not be ended"):
        execution = task.request.__dict__.pop(_RUNNING, None)
        if not isinstance(execution, spans.Execution):
            if execution is not None:
                otel_context.detach(execution)
            return
        error = retval if isinstance(retval, BaseException) else None
        if state is None:
            _unwound(execution, task)
        elif state == "RETRY":
            if task.request.is_eager:
                celery_eager.retry_follows(execution)
            cause = getattr(error, "exc", None)
            known = cause if isinstance(cause, BaseException) else None
            execution.set_outcome("retry", error=known, error_type="" if known is not None else "Retry")
            execution.end()
        elif state == "REJECTED":
            # A message that was acknowledged before the run cannot go back.
            requeued = bool(getattr(error, "requeue", False) and task.acks_late and not task.request.is_eager)
            outcome = "retry" if requeued else "rejected"
            execution.set_outcome(outcome, error_type="Reject", dead_letter=not requeued)
            execution.end()
        elif state == "FAILURE":
            _failed(execution, task, error)
        else:
            execution.dead_letter = False  # a refused retry that the task got over
            execution.end("success")


def _failed(execution: spans.Execution, task: Any, error: BaseException | None) -> None:
    if execution.outcome == "retry":  # it published its next attempt before
        execution.set_outcome("retry", error=error)
        execution.end()
        return
    most = execution.job.max_attempts
    if most is not None and 1 < most <= (task.request.retries or 0) + 1:
        execution.dead_letter = True
    throws: Any = getattr(task, "throws", None) or ()
    expected = isinstance(error, tuple(throws) if isinstance(throws, list) else throws)
    execution.end("failure", error=error, error_type="" if error else "Failure", expected=expected)


def retry(wrapped: Callable[..., Any], task: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Note a limit given to this retry, and a retry that Celery refuses (wrapper of `Task.retry`)."""
    from celery.exceptions import Reject, Retry

    execution = None
    with guard("a retry could not be followed"):
        execution = execution_in(otel_context.get_current())
        if execution is not None and execution.job.job_id != task.request.id:
            execution = None
        limit = kwargs.get("max_retries", args[_MAX_RETRIES_POSITION] if len(args) > _MAX_RETRIES_POSITION else None)
        if execution is not None and limit is not None:
            execution.limit_attempts(int(limit) + 1)
    try:
        return wrapped(*args, **kwargs)
    except (Retry, Reject):
        raise
    except BaseException:
        if execution is not None:
            execution.dead_letter = True
        raise


def _unwound(execution: spans.Execution, task: Any) -> None:
    """End an attempt that raised past Celery's own handling, such as with its result backend down.

    A pool child is torn down by a hard time limit, by a revocation, or by the task itself; only the main process knows
    which, and reports it.
    """
    error = sys.exc_info()[1]
    if in_pool_child and not isinstance(error, Exception):
        execution.abandon()
        return
    _failed(execution, task, error)


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
