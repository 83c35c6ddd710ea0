"""Celery's inline runs, `Task.apply` and `task_always_eager`: dispatch and execute spans around them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from otjobs.config import settings
from otjobs.faults import guard
from otjobs.integrations import _base as base
from otjobs.integrations.celery.message import SYSTEM, max_attempts
from otjobs.integrations.celery.queues import configured_queue
from otjobs.job import Job
from otjobs.tracing import active

if TYPE_CHECKING:
    from collections.abc import Callable

    from otjobs.execution import Execution

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
            given["headers"] = {**(given.get("headers") or {}), base.CARRIER: _carrier(task, given)}
            args, kwargs = (), given
    return wrapped(*args, **kwargs)


def retry_follows(execution: Execution) -> None:
    """Keep the carrier of the retry that Celery runs next, in this thread."""
    _retries[execution.job_id] = execution.next_carrier(identity=False)


def _carrier(task: Any, given: dict[str, Any]) -> dict[str, str]:
    job = Job(
        system=SYSTEM,
        job_type=task.name,
        job_id=str(given["task_id"]),
        queue=configured_queue(task.app, task, given),
        max_attempts=max_attempts(task),
        group_id=str(given.get("group_id") or ""),
    )
    kept, fields = _retries.pop(job.job_id, None), dict(given.get("headers") or {})
    publication = base.Publication()
    publication.carry(fields, job, following=kept if given.get("retries") else None, current=False)
    publication.end()  # handing over ends here: the run is the execute span's
    return dict(fields[base.CARRIER])
