"""The generic API for home-made queues: dispatch, execute, report what ended elsewhere.

::

    with otjobs.dispatching("resize", queue="images") as d:
        redis.lpush("images", json.dumps({"id": d.job_id, "otjobs": d.carrier}))

    with otjobs.executing(message["otjobs"]) as e:
        resize(message)

Both work as `async with`, too. Nothing here raises into the code around it, whatever it is given: an argument that has
one plain meaning is converted ("5" for 5, bytes for a text, a datetime for a time), one that has none counts as not
given, and a counted warning names it.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Final, Literal

from otjobs import attributes as a
from otjobs import clock, given, times
from otjobs.carrier import Carrier, decode, job_from
from otjobs.dispatch import Dispatch
from otjobs.elsewhere import ended_elsewhere
from otjobs.execution import Execution
from otjobs.faults import guard
from otjobs.job import Job
from otjobs.next_attempt import next_carrier

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_READERS: Final[dict[str, Callable[[object, str], object]]] = {
    **dict.fromkeys(("job_type", "queue", "system", "job_id", "worker"), given.text),
    **dict.fromkeys(("attempt", "max_attempts"), given.count),
    "redelivered": given.flag,
    "received_at": times.moment,
}


def dispatching(
    job_type: str,
    *,
    queue: str = "default",
    system: str = "custom",
    job_id: str = "",
    delay_seconds: float | None = None,
    due_at: int | None = None,
    expires_at: int | None = None,
    max_attempts: int | None = None,
    trigger: a.Trigger | Literal[""] = "",
    trigger_name: str = "",
    labels: Mapping[str, object] | None = None,
) -> Dispatch:
    """Trace the publication of a job; put `.carrier` (a flat dict of strings) into its payload.

    Args:
        job_type: the name of the code that will run.
        queue: where the job is put.
        system: the name of the queue library.
        job_id: the job's id; a random one is made if there is none (`.job_id`).
        delay_seconds: the job may start that long from now.
        due_at: the same as a time, unix ns.
        expires_at: a job not started by then is expired, unix ns.
        max_attempts: how many attempts it may have.
        trigger: request, schedule or manual; found out by default.
        trigger_name: route or schedule entry.
        labels: the job's own labels.
    """
    now = clock.now()
    due = times.deadline(due_at, "due_at")
    delay = given.seconds(delay_seconds, "delay_seconds")
    if due is None and delay:
        due = times.after(now, delay)
    job = Job(
        system=given.text(system, "system") or "custom",
        job_type=given.text(job_type, "job_type") or "unknown",
        job_id=given.text(job_id, "job_id") or uuid.uuid4().hex,
        queue=given.text(queue, "queue", "default"),
        enqueued_at=now,
        due_at=due,
        expires_at=times.deadline(expires_at, "expires_at"),
        max_attempts=given.count(max_attempts, "max_attempts"),
        trigger=given.text(trigger, "trigger"),
        trigger_name=given.text(trigger_name, "trigger_name"),
        labels=given.labels(labels),
    )
    return Dispatch(job)


def executing(
    carrier: object,
    *,
    job_type: str = "",
    queue: str = "",
    system: str = "",
    job_id: str = "",
    attempt: int | None = None,
    max_attempts: int | None = None,
    redelivered: bool = False,
    received_at: int | None = None,
    worker: str = "",
) -> Execution:
    """Trace one attempt of a job.

    Args:
        carrier: what `dispatching` or `Execution.retry` gave, in any state of repair, or None.
        job_type: used where the carrier has none (an un-instrumented producer).
        queue: the queue this attempt came from.
        system: the name of the queue library.
        job_id: the job's id where the carrier has none.
        attempt: the number the queue gives it, from 1; the larger of this and the carrier's counts.
        max_attempts: how many attempts the job may have.
        redelivered: the broker delivered the same message again.
        received_at: when the message was taken from the broker, unix ns.
        worker: the worker's name, host:pid by default.
    """
    decoded, job = _read(
        carrier,
        job_type=job_type,
        queue=queue,
        system=system,
        job_id=job_id,
        attempt=attempt,
        max_attempts=max_attempts,
        redelivered=redelivered,
        received_at=received_at,
        worker=worker,
    )
    return Execution(job, decoded)


def ended(
    carrier: object,
    outcome: a.Outcome,
    *,
    error_type: str = "",
    started_at: int | None = None,
    ended_at: int | None = None,
    due_at: int | None = None,
    dead_letter: bool = False,
    job_type: str = "",
    queue: str = "",
    system: str = "",
    job_id: str = "",
    attempt: int | None = None,
    worker: str = "",
) -> dict[str, str]:
    """Report a job that ended elsewhere: expired, cancelled, rejected, or its worker was killed.

    Args:
        carrier: what the job's payload carries.
        outcome: expired, cancelled, rejected, failure, lost; or retry for a killed attempt that is put back.
        error_type: the reason.
        started_at: unix ns, when the attempt had started; None if it never did.
        ended_at: unix ns, now by default.
        due_at: with retry, the earliest start of the next attempt, unix ns.
        dead_letter: the job is set aside for good.
        job_type: as in `executing`, like the rest.
        queue: as in `executing`.
        system: as in `executing`.
        job_id: as in `executing`.
        attempt: as in `executing`.
        worker: as in `executing`.

    Returns:
        The carrier for publishing the job again (the next attempt).
    """
    with guard("the end of a job could not be reported"):
        decoded, job = _read(
            carrier, job_type=job_type, queue=queue, system=system, job_id=job_id, attempt=attempt, worker=worker
        )
        outcome = given.outcome(outcome)
        started_at, ended_at = times.moment(started_at, "started_at"), times.moment(ended_at, "ended_at")
        due = times.deadline(due_at, "due_at")
        if started_at is None and outcome not in a.UNSTARTED_OUTCOMES:
            started_at = _assumed_start(job)
        context = ended_elsewhere(
            job,
            decoded,
            outcome,
            error_type=given.text(error_type, "error_type"),
            started_at=started_at,
            ended_at=ended_at,
            dead_letter=given.flag(dead_letter, "dead_letter"),
            retry_ready_at=max(clock.now(), due or 0),
        )
        return next_carrier(
            job,
            decoded.dispatch or context,
            decoded.context,
            previous=context,
            due_at=due,
            started_at=started_at,
        )
    return {}


def _assumed_start(job: Job) -> int:
    """Return the earliest moment the attempt can have started: nobody here saw it start."""
    return max(job.published_at or job.enqueued_at or clock.now(), job.due_at or 0)


def _read(carrier: object, **known: Any) -> tuple[Carrier, Job]:
    """Return the attempt that a carrier and what the caller says (which wins) describe."""
    decoded = decode(carrier)
    for name, value in known.items():
        if value is not None and not (type(value) is str and not value):  # nearly all of them are not given
            known[name] = _READERS[name](value, name)
    job = job_from(decoded, known)
    if not job.job_id:
        job.job_id = uuid.uuid4().hex
    return decoded, job
