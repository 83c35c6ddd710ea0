"""RQ: `opentelemetry-instrument rq worker`, or `RQInstrumentor().instrument()`.

The carrier is a field of the job's hash in Redis, beside those that RQ knows: `job.meta` is the user's alone. A job
that waits for others is published when the last of them ends, as that one's child. A repetition is a job of its own.
"""

from __future__ import annotations

import json
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as otel_context
from opentelemetry.instrumentation.utils import suppress_instrumentation

from otjobs import clock, times, tracing
from otjobs.composites import composite
from otjobs.execution import running_here
from otjobs.faults import guard
from otjobs.integrations import _base as base
from otjobs.integrations._message import W3C, put
from otjobs.job import UNKNOWN
from otjobs.triggers import trigger
from otjobs.untraced import untraced_carrier

if TYPE_CHECKING:
    from otjobs.attributes import Outcome
    from otjobs.carrier import Carrier
    from otjobs.execution import Execution

_FIELD: Final = "otjobs"
_WAITING: Final = ("queued", "scheduled", "rate_limited")


# The job's hash -----------------------------------------------------------------------------------------------------
def _fields(job: Any) -> dict[str, Any]:
    """Return our fields of a job; a W3C context that the user put into `meta` is one of them."""
    own = vars(job)  # the class may say what may be set
    if "_otjobs" not in own:
        meta = job.meta if isinstance(job.meta, dict) else {}
        own["_otjobs"] = {key: meta[key] for key in W3C if isinstance(meta.get(key), str)}
    return own["_otjobs"]  # type: ignore[no-any-return]


def _load(job: Any, stored: Any) -> None:
    """Take our fields from a hash, unless an earlier job of the same id left them there."""
    vars(job).pop("_otjobs", None)
    found = json.loads(stored.get(_FIELD.encode()) or "{}")
    if found.pop("created_at", "").encode() == stored.get(b"created_at"):
        vars(job)["_otjobs"] = found


def _name(job: Any) -> str:
    """Return the name of a job's function, '' before RQ has unpickled it: that may run anything, so we never do."""
    if isinstance(job._func_name, str):
        return job._func_name
    fields = _fields(job)
    carrier = fields.get(base.CARRIER)
    found = carrier.get("type") if isinstance(carrier, dict) else fields.get("type")
    return found if isinstance(found, str) else ""


def _status(job: Any) -> str:
    """Return a job's status in Redis, '' where it is gone, and load our fields from there: the object may be old."""
    names = (b"status", _FIELD.encode(), b"created_at")
    stored = dict(zip(names, job.connection.hmget(job.key, *names), strict=True))
    _load(job, stored)
    return (stored[b"status"] or b"").decode()


def to_dict(wrapped: Any, job: Any, args: Any, kwargs: Any) -> Any:
    """Store our fields with the others (wrapper of `Job.to_dict`)."""
    result = wrapped(*args, **kwargs)
    with guard("a job could not be given its carrier"):
        publication, fields = base.under_way(job), vars(job).get("_otjobs")
        if publication is not None:
            publication.leaves()
        if fields:
            known = {"type": _name(job), "created_at": result["created_at"]}  # an untraced job's carrier has no type
            result[_FIELD] = json.dumps({**fields, **known})
    return result


def restore(wrapped: Any, job: Any, args: Any, kwargs: Any) -> Any:
    """Load our fields with the others (wrapper of `Job.restore`)."""
    result = wrapped(*args, **kwargs)
    with guard("the carrier of a job could not be read"):
        _load(job, args[0] if args else kwargs["raw_data"])
    return result


def _message(job: Any, worker: str = "") -> base.Message:
    """Return the attempt that a job describes: RQ knows how many retries are left, the carrier how many there were."""
    fields, left, name = _fields(job), job.retries_left, _name(job)
    known = {"system": "rq", "job_type": name, "job_id": job.id, "queue": job.origin, "worker": worker}

    def attempt(carrier: Carrier) -> int:
        most = carrier.fields.get("max_attempts")
        return most - left if most and left is not None else (job.number_of_retries or 0) + 1

    most = None if left is None else left + 1
    otherwise = {"max_attempts": lambda: most, "group_id": lambda: job.group_id}
    return base.Message(name, fields.get, lambda carrier: {**known, "attempt": attempt(carrier)}, otherwise)


def _job(args: Any, kwargs: Any) -> Any:
    return args[0] if args else kwargs.get("job")


def _running(job: Any) -> Execution | None:
    return running_here("rq", job.id, otel_context.get_current())


# Publishing ---------------------------------------------------------------------------------------------------------
def publish(wrapped: Any, queue: Any, args: Any, kwargs: Any) -> Any:
    """Trace a publication (wrapper of the methods of `Queue` that put a job on a queue or a schedule)."""
    with base.publishing(lambda: _outgoing(wrapped, queue, args, kwargs), _job(args, kwargs)):
        return wrapped(*args, **kwargs)


def _outgoing(wrapped: Any, queue: Any, args: Any, kwargs: Any) -> base.Outgoing | None:
    call, method = base.arguments(wrapped, args, kwargs), wrapped.__name__
    job = call["job"]
    waits = method == "enqueue_job" and job._dependency_ids
    refused = call.get("unique") and not job._id  # by RQ; looking for an id would make one
    if waits or refused:
        return None
    due_at, following = times.deadline(call.get("datetime"), "datetime"), None
    again = method != "schedule_job" and job.get_status(refresh=False) == "scheduled"
    if not again and base.CARRIER in _fields(job) and _running(job) is None:
        status = _status(job)
        again = status in _WAITING or status == "started"
        following = _message(job).following(due_at) if status and not again else None  # it has ended, and runs again
    record = base.Job(
        system="rq",
        job_type=_name(job) or UNKNOWN,
        job_id=job.id,
        queue=queue.name,
        due_at=due_at,
        expires_at=times.after(due_at or clock.now(), job.ttl) if (job.ttl or 0) > 0 else None,
        max_attempts=None if job.retries_left is None else job.retries_left + 1,
        group_id=job.group_id or "",
    )
    return base.Outgoing(_fields(job), record, again=again, following=following)


def create_job(wrapped: Any, _: Any, args: Any, kwargs: Any) -> Any:
    """Keep the context of a job that waits for others, should nobody know it later (wrapper of `Queue.create_job`)."""
    job = wrapped(*args, **kwargs)
    with guard("the context of a job that waits for others could not be kept"):
        if job._dependency_ids and tracing.active():
            put(_fields(job), untraced_carrier(otel_context.get_current()), name=base.UNTRACED)
    return job


def enqueue_many(wrapped: Any, _: Any, args: Any, kwargs: Any) -> Any:
    """Publish jobs with one command; those of a group are one workflow (wrapper of `Queue.enqueue_many`)."""
    around: AbstractContextManager[None] = nullcontext()
    with guard("a group could not be traced"):
        call = base.arguments(wrapped, args, kwargs)
        datas, group = call["job_datas"], call["group_id"]
        roots = len(datas) if isinstance(datas, (list, tuple)) and not any(data.depends_on for data in datas) else None
        around = composite("group", group_id=group, roots=roots) if group else around
    with around, base.together():
        return wrapped(*args, **kwargs)


def repeat(wrapped: Any, _: Any, args: Any, kwargs: Any) -> Any:
    """Publish the next repetition, a job of its own (wrapper of `Repeat.schedule`)."""
    with guard("the job before a repetition could not be forgotten"):
        vars(_job(args, kwargs))["_otjobs"] = {}
    token = otel_context.attach(otel_context.Context())
    try:
        with trigger("schedule", "repeat"):
            return wrapped(*args, **kwargs)
    finally:
        otel_context.detach(token)


def cron(wrapped: Any, entry: Any, args: Any, kwargs: Any) -> Any:
    """Say that a schedule triggers the job (wrapper of `CronJob.enqueue`)."""
    with trigger("schedule", getattr(entry, "name", "")):
        return wrapped(*args, **kwargs)


# Running ------------------------------------------------------------------------------------------------------------
def perform(wrapped: Any, owner: Any, args: Any, kwargs: Any) -> Any:
    """Trace an attempt (wrapper of `BaseWorker.perform_job`, and of `Queue.run_sync`, inside of a publication)."""
    job, is_horse = _job(args, kwargs), getattr(owner, "is_horse", None)
    publication = base.under_way(job)
    if publication is not None:
        publication.end()  # where the run begins
    leaves = bool(is_horse) and "perform_job" not in vars(owner)
    with base.running(lambda: _message(job, "" if is_horse is None else owner.name), leaves=leaves):
        return wrapped(*args, **kwargs)


def horse(wrapped: Any, worker: Any, args: Any, kwargs: Any) -> Any:
    """Send the spans of a work horse around all that others put around its job (wrapper of `main_work_horse`).

    RQ leaves through `os._exit` in there, so nothing runs after it.
    """
    with guard("a work horse could not be prepared"):
        vars(worker)["perform_job"] = base.leaving(worker.perform_job)
    return wrapped(*args, **kwargs)


def prepared(wrapped: Any, worker: Any, args: Any, kwargs: Any) -> Any:
    """Name the attempt, as RQ has just unpickled its job (wrapper of `BaseWorker.prepare_job_execution`)."""
    result = base.quietly(wrapped, worker, args, kwargs)
    with guard("the type of a job could not be told"):
        job = _job(args, kwargs)
        base.tell_type(_running(job), _name(job))
    return result


def failed(wrapped: Any, _: Any, args: Any, kwargs: Any) -> Any:
    """Keep the exception that RQ handles (of `_finalize_failure`, and of `record_job_failure` in `rq.queue`)."""
    with guard("the error of a job could not be noted"):
        base.note_error("rq", _job(args, kwargs).id, sys.exc_info()[1])
    return wrapped(*args, **kwargs)


def retry_returned(wrapped: Any, worker: Any, args: Any, kwargs: Any) -> Any:
    """Note what becomes of a job that returns a `Retry` (wrapper of `BaseWorker.handle_job_retry`)."""
    result = base.quietly(wrapped, worker, args, kwargs)
    with guard("a retry could not be followed"):
        call = base.arguments(wrapped, args, kwargs)
        run = _running(call["job"])
        if run is not None:
            run.limit_attempts(call["retry"].max + 1)
            if run.outcome == "retry":
                run.set_outcome("retry", error_type="Retry")
            else:
                run.set_outcome("failure", error_type="MaxRetriesExceeded", dead_letter=True)
    return result


# Ends that another process sees -------------------------------------------------------------------------------------
def ended(wrapped: Any, owner: Any, args: Any, kwargs: Any) -> Any:
    """Report an attempt whose process died or was stopped (wrapper of what RQ does then)."""
    around: AbstractContextManager[Any] = nullcontext()
    with guard("the end of a job could not be observed"):
        around = _end(owner, _job(args, kwargs))
    with around:
        return wrapped(*args, **kwargs)


def _end(owner: Any, given: Any) -> Any:
    worker = owner if hasattr(owner, "_stopped_job_id") else None
    job = given if owner is None or worker else owner
    if _running(job) is not None:
        return suppress_instrumentation()  # the process that ran it reports
    outcome: Outcome = "rejected"
    reason, started_at, ended_at = "NeverStarted", None, None
    if job.get_status(refresh=False) == "started":
        outcome, reason, started_at = "lost", "WorkHorseKilled", times.moment(job.started_at, "started_at")
    if worker is None:
        reason, ended_at = "AbandonedJobError", times.moment(job.last_heartbeat, "last_heartbeat")
    elif worker._stopped_job_id == job.id:
        outcome, reason = "cancelled", "Stopped"
    elif started_at and 0 < (job.timeout or 0) < (clock.now() - started_at) / 1e9 - 60:
        outcome, reason = "failure", "JobTimeoutException"  # the worker waits a minute longer than the job's alarm
    name = worker.name if worker else job.worker_name or ""
    how: dict[str, Any] = {"error_type": reason, "started_at": lambda: started_at, "ended_at": ended_at}
    return base.observed(lambda: _message(job, name), outcome, **how)


def cancel(wrapped: Any, job: Any, args: Any, kwargs: Any) -> Any:
    """Report a job that is taken off its queue (wrapper of `Job.cancel`); one that runs goes on."""
    status = ""
    with guard("the status of a cancelled job is unknown"):
        status = _status(job)
    result = wrapped(*args, **kwargs)
    if status in _WAITING:
        with base.observed(lambda: _message(job), "cancelled", error_type="Canceled"):
            pass
    return result


_WRAPPERS: Final[dict[str, dict[str, Any]]] = {
    "rq.job": {"Job.to_dict": to_dict, "Job.restore": restore, "Job.retry": ended, "Job.cancel": cancel},
    "rq.queue": {
        **dict.fromkeys(("Queue.enqueue_job", "Queue.schedule_job", "Queue._enqueue_job"), publish),
        "Queue._enqueue_rate_limited_job": publish,
        "Queue.create_job": create_job,
        "Queue.enqueue_many": enqueue_many,
        "Queue.run_sync": perform,
        "record_job_failure": failed,
    },
    "rq.repeat": {"Repeat.schedule": repeat},
    "rq.cron": {"CronJob.enqueue": cron},
    "rq.registry": {"record_job_failure": ended},
    "rq.worker.base": {
        "BaseWorker.main_work_horse": horse,
        "BaseWorker.perform_job": perform,
        "BaseWorker.prepare_job_execution": prepared,
        "BaseWorker._finalize_failure": failed,
        "BaseWorker.handle_job_retry": retry_returned,
        "BaseWorker.handle_job_failure": ended,
        "BaseWorker._start_scheduler": base.before_forks,
        "BaseWorker.work": base.quietly,
        **dict.fromkeys(("BaseWorker.handle_execution_ended", "BaseWorker.handle_job_success"), base.quietly),
    },
    "rq.worker.worker_classes": {"Worker.bootstrap": base.before_forks, "Worker._handle_stopped_job": ended},
    "rq.worker_pool": {"WorkerPool.start": base.before_forks},
}


class RQInstrumentor(base.Instrumentor):
    """Traces RQ's producers, workers and schedulers."""

    library, extra, versions = "rq", "rq", ("rq >= 3, < 4",)
    changes = {  # noqa: RUF012  (a class variable of the base)
        module: [base.wrap(path, wrapper) for path, wrapper in paths.items()] for module, paths in _WRAPPERS.items()
    }
