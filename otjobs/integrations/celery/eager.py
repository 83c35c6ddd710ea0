"""Celery's inline runs, `Task.apply` and `task_always_eager`: dispatch and execute spans around them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as otel_context

from otjobs import spans
from otjobs.config import settings
from otjobs.execution import execution_in
from otjobs.faults import guard
from otjobs.integrations.celery.message import HEADER, SYSTEM, given_context, max_attempts
from otjobs.integrations.celery.queues import configured_queue
from otjobs.job import Job
from otjobs.tracing import active

if TYPE_CHECKING:
    from collections.abc import Callable

_NAMES: Final = (
    "args",
    "kwargs",
    "link",
    "link_error",
    "task_id",
    "retries",
    "throw",
    "logfile",
    "loglevel",
    "headers",
)
"""The positional parameters of `Task.apply`."""

_retries: dict[str, dict[str, str]] = {}
"""Carriers of retries that are about to run: Celery runs an eager retry after the attempt has ended."""


def apply(wrapped: Callable[..., Any], task: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Trace an inline run (wrapper of `Task.apply`)."""
    from celery.utils import uuid

    with guard("an eager run could not be traced"):
        if active() and not settings().excludes(task.name):
            given = {**dict(zip(_NAMES, args, strict=False)), **kwargs}
            given["task_id"] = given.get("task_id") or uuid()
            given["headers"] = {**(given.get("headers") or {}), HEADER: _carrier(task, given)}
            args, kwargs = (), given
    return wrapped(*args, **kwargs)


def retry_follows(execution: spans.Execution) -> None:
    """Keep the carrier of the retry that Celery runs next, in this thread."""
    _retries[execution.job_id] = execution.next_carrier(identity=False)


def _carrier(task: Any, given: dict[str, Any]) -> dict[str, str]:
    task_id = str(given["task_id"])
    execution = execution_in(otel_context.get_current())
    if execution is not None and execution.job.job_id == task_id:  # a replacement
        execution.set_outcome("retry")
        return execution.next_carrier(identity=False)
    kept = _retries.pop(task_id, None)
    if kept is not None and given.get("retries"):
        return kept
    job = Job(
        system=SYSTEM,
        job_type=task.name,
        job_id=task_id,
        queue=configured_queue(task.app, task, given),
        max_attempts=max_attempts(task),
        group_id=str(given.get("group_id") or ""),
    )
    context = given_context(given.get("headers"), otel_context.get_current())
    dispatch = spans.Dispatch(job, context=context, identity=False)
    dispatch.end()  # handing over ends here: the run is the execute span's
    return dispatch.carrier
