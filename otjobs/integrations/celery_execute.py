"""Celery's running side: the execute span, from `task_prerun` to `task_postrun` in the process that runs the task."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from otjobs import spans
from otjobs.carrier import Carrier, decode
from otjobs.config import settings
from otjobs.errors import guard
from otjobs.integrations import celery_publish
from otjobs.integrations.celery_publish import HEADER, RECEIVED, SYSTEM, timestamp

if TYPE_CHECKING:
    from otjobs.job import Job

_RUNNING: Final = "otjobs_execution"
_OUTCOMES: Final = {"SUCCESS": "success", "FAILURE": "failure", "RETRY": "retry", "IGNORED": "success"}

in_pool_child = False
"""True in the child processes of a prefork pool."""


def read(request: Any, task_name: str, job_id: str, *, worker: str = "") -> tuple[Carrier, Job]:
    """Return the carrier and the attempt that a task request (of the child or the main process) describes."""
    carried = _header(request, HEADER)
    if carried is None:
        carried = {k: v for k in ("traceparent", "tracestate", "baggage") if (v := _header(request, k)) is not None}
    carrier = decode(carried or None)
    if HEADER not in _known(request):
        carrier.known = False  # a foreign trace goes on, and its carrier knows nothing of attempts
    delivery = getattr(request, "delivery_info", None) or {}
    retries = getattr(request, "retries", None)
    if retries is None:
        retries = _header(request, "retries") or 0
    attempt = int(retries) + 1
    received = _header(request, RECEIVED)
    job = spans.job_from(
        carrier,
        {
            "system": SYSTEM,
            "job_type": task_name,
            "job_id": job_id,
            "queue": _queue(delivery, carrier),
            "attempt": attempt,
            "redelivered": bool(delivery.get("redelivered")),
            "received_at": int(received) if isinstance(received, (int, str)) and str(received).isdigit() else None,
            "worker": worker or getattr(request, "hostname", "") or "",
            "due_at": timestamp(getattr(request, "eta", None)) if attempt > carrier.attempt else None,
            "group_id": carrier.fields.get("group_id") or getattr(request, "group", None) or "",
        },
    )
    return carrier, job


def _known(request: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for source in ("headers", "request_dict"):
        value = getattr(request, source, None)
        if isinstance(value, dict):
            found.update(value)
    own = getattr(request, HEADER, None)
    if own is not None:
        found[HEADER] = own
    return found


def _header(request: Any, name: str) -> Any:
    for source in ("request_dict", "headers"):
        value = getattr(request, source, None)
        if isinstance(value, dict) and value.get(name) is not None:
            return value[name]
    return getattr(request, name, None)


def _queue(delivery: Any, carrier: Carrier) -> str:
    """Return the queue of a delivery; with a named exchange the routing key need not be one."""
    key, exchange = str(delivery.get("routing_key") or ""), str(delivery.get("exchange") or "")
    if not exchange or exchange == key or not carrier.queue:
        return key or carrier.queue
    return carrier.queue


def prerun(task_id: str = "", task: Any = None, **_: Any) -> None:
    """Start the execute span and make it current (signal `task_prerun`)."""
    with guard("an execution could not be traced"):
        if settings().excludes(task.name):
            return
        carrier, job = read(task.request, task.name, task_id)
        if job.max_attempts is None and task.max_retries is not None:
            job.max_attempts = task.max_retries + 1
        execution = spans.Execution(job, carrier, cpu=_has_own_thread())
        execution.activate()
        setattr(task.request, _RUNNING, execution)


def postrun(task: Any = None, retval: Any = None, state: str | None = None, **_: Any) -> None:
    """End the execute span with what became of the attempt (signal `task_postrun`)."""
    with guard("an execution could not be ended"):
        execution = task.request.__dict__.pop(_RUNNING, None)
        if not isinstance(execution, spans.Execution):
            return
        if state is None:
            _unwound(execution)
            return
        error = retval if isinstance(retval, BaseException) else None
        outcome = _OUTCOMES.get(state, "failure")
        if state == "RETRY":
            if task.request.is_eager:
                celery_publish.eager_retries[execution.job_id] = execution.next_carrier(identity=False)
            _end_retry(execution, error)
            return
        if state == "REJECTED":
            if getattr(error, "requeue", False):
                execution.end("retry", error_type="Reject")
            else:
                execution.set_outcome("rejected", error_type="Reject", dead_letter=True)
                execution.end()
            return
        if state == "IGNORED":
            execution.end("success")
            return
        if outcome == "failure" and error is not None:
            retries, most = task.request.retries or 0, task.max_retries
            if most is not None and 0 < most <= retries:
                execution.dead_letter = True
            # A retry that could not be published any more: the attempt failed.
            execution.outcome = ""
        expected = error is not None and isinstance(error, tuple(getattr(task, "throws", ()) or ()))
        execution.end(outcome, error=error, expected=expected)


def _end_retry(execution: spans.Execution, error: BaseException | None) -> None:
    cause = getattr(error, "exc", None)
    known = cause if isinstance(cause, BaseException) else None
    execution.set_outcome("retry", error=known, error_type="" if known is not None else "Retry")
    execution.end()


def _unwound(execution: spans.Execution) -> None:
    """End an attempt that a BaseException tears down.

    A pool child is torn down by a hard time limit, by a revocation, or by the task itself; only the main process knows
    which and reports it, so the child's word is an observer's, too, and the later report counts.
    """
    error = sys.exc_info()[1]
    execution.observed = in_pool_child
    execution.outcome = ""
    execution.end("lost" if in_pool_child else "failure", error=error)


def _has_own_thread() -> bool:
    return not any(getattr(sys.modules.get(name), "_otjobs_green", False) for name in ("gevent", "eventlet")) and not (
        _patched("gevent.monkey") or _patched("eventlet.patcher")
    )


def _patched(name: str) -> bool:
    module = sys.modules.get(name)
    if module is None:
        return False
    if name == "gevent.monkey":
        return bool(module.is_module_patched("threading"))
    return bool(module.is_monkey_patched("thread"))
