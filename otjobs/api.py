"""The generic API for home-made queues: dispatch, execute, report what ended elsewhere.

::

    with otjobs.dispatching("resize", queue="images") as d:
        redis.lpush("images", json.dumps({"id": d.job_id, "otjobs": d.carrier}))

    with otjobs.executing(message["otjobs"]) as e:
        resize(message)

Both work as `async with`, too. Nothing here raises into the code around it.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from otjobs import attributes as a
from otjobs import job as jobs
from otjobs import spans
from otjobs.carrier import Carrier, clean_labels, decode
from otjobs.errors import guard, warn
from otjobs.job import Job
from otjobs.spans import Dispatch, Execution

if TYPE_CHECKING:
    from collections.abc import Mapping


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
    trigger: str = "",
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
    now = jobs.now()
    if due_at is None and delay_seconds is not None and delay_seconds > 0:
        due_at = now + int(delay_seconds * 1e9)
    job = Job(
        system=system or "custom",
        job_type=job_type or "unknown",
        job_id=str(job_id) if job_id not in ("", None) else uuid.uuid4().hex,
        queue=queue,
        enqueued_at=now,
        due_at=due_at,
        expires_at=expires_at,
        max_attempts=max_attempts,
        trigger=trigger,
        trigger_name=trigger_name,
        labels=clean_labels(labels or {}),
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
    outcome: str,
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
        if outcome not in a.OUTCOMES:
            warn("an unknown outcome was given and counts as failure", outcome)
            outcome = "failure"
        if started_at is None and outcome not in a.UNSTARTED_OUTCOMES:
            started_at = _assumed_start(job)
        context = spans.ended_elsewhere(
            job,
            decoded,
            outcome,
            error_type=error_type,
            started_at=started_at,
            ended_at=ended_at,
            dead_letter=dead_letter,
        )
        return spans.next_carrier(
            job,
            decoded.dispatch or context,
            decoded.context,
            previous=context,
            due_at=due_at,
            started_at=started_at,
        )
    return {}


def _assumed_start(job: Job) -> int:
    """Return the earliest moment the attempt can have started: nobody here saw it start."""
    return max(job.published_at or job.enqueued_at or jobs.now(), job.due_at or 0)


def _read(carrier: object, **known: Any) -> tuple[Carrier, Job]:
    decoded = decode(carrier)
    if known.get("attempt") is not None:
        known["attempt"] = int(known["attempt"])
    job = spans.job_from(decoded, known)
    if not job.job_id:
        job.job_id = uuid.uuid4().hex
    return decoded, job
