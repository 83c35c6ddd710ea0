"""A job record as the attributes of a span."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otjobs import attributes as a
from otjobs.sdk.sound import made_sound
from otjobs.texts import MAX_TEXT
from otjobs.tracing import own_service
from otjobs.worker_name import default_worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import Span

    from otjobs.job import Job, Parent


def attributes_of(job: Job, operation: str, name: str, trace_id: str) -> dict[str, Any]:
    """Return the attributes of a span of this job that are known when it starts, sound."""
    out: dict[str, Any] = {
        a.SYSTEM: job.system,
        a.OPERATION_TYPE: operation,
        a.OPERATION_NAME: name,
        a.QUEUE: job.queue,
        a.JOB_ID: job.job_id,
        a.JOB_TYPE: job.job_type,
    }
    # All texts in one, which is looked at once: nothing need be done for those of nearly every job.
    texts = f"{job.system}{job.queue}{job.job_id}{job.job_type}"
    enqueued_at = job.enqueued_at
    if enqueued_at is not None:
        out[a.ENQUEUED_AT] = enqueued_at
        if job.producer and operation != "send" and job.producer != own_service():
            out[a.PRODUCER] = job.producer
            texts = f"{texts}{job.producer}"
    if operation != "send":
        out[a.ATTEMPT] = job.attempt
        worker = out[a.WORKER] = job.worker or default_worker()
        texts = f"{texts}{worker}"
        if job.received_at is not None:
            out[a.RECEIVED_AT] = job.received_at
        if job.redelivered:
            out[a.REDELIVERED] = True
        if job.broadcast:
            out[a.BROADCAST] = True
        if job.published_at is not None and job.published_at != enqueued_at:
            out[a.PUBLISHED_AT] = job.published_at
        if enqueued_at is None and job.first_started_at is not None:
            out[a.FIRST_STARTED_AT] = job.first_started_at
    if job.due_at is not None:
        out[a.DUE_AT] = job.due_at
    if job.expires_at is not None:
        out[a.EXPIRES_AT] = job.expires_at
    if job.max_attempts is not None:
        out[a.MAX_ATTEMPTS] = job.max_attempts
    if job.first_queue and job.first_queue != job.queue:
        out[a.JOB_QUEUE] = job.first_queue
        texts = f"{texts}{job.first_queue}"
    if job.workflow_id and job.workflow_id != trace_id:
        out[a.WORKFLOW_ID] = job.workflow_id
        texts = f"{texts}{job.workflow_id}"
    if job.group_id:
        out[a.GROUP_ID] = job.group_id
        texts = f"{texts}{job.group_id}"
    if job.parent is not None:
        texts += _parent_attributes(job, job.parent, out)
    else:
        if job.roots is not None:
            out[a.WORKFLOW_ROOTS] = job.roots
        if job.trigger:
            out[a.TRIGGER] = job.trigger
            out[a.TRIGGER_NAME] = job.trigger_name
            texts = f"{texts}{job.trigger}{job.trigger_name}"
    if job.labels:
        for key, value in job.labels.items():
            out[a.LABEL_PREFIX + key] = value
        return made_sound(out)
    return out if texts.isascii() and len(texts) <= MAX_TEXT else made_sound(out)


def _parent_attributes(job: Job, parent: Parent, out: dict[str, Any]) -> str:
    """Add what a job has from its parent; returns all texts of it."""
    out[a.PARENT_ID] = parent.id
    out[a.PARENT_TYPE] = parent.type
    out[a.PARENT_ATTEMPT] = parent.attempt
    if job.workflow_type:
        out[a.WORKFLOW_TYPE] = job.workflow_type
    if job.workflow_started_at is not None:
        out[a.WORKFLOW_STARTED_AT] = job.workflow_started_at
    return f"{parent.id}{parent.type}{job.workflow_type}"


def set_attributes(span: Span, attributes: dict[str, Any]) -> None:
    """Set sound attributes of ours on a span that has started."""
    set_own: Callable[[dict[str, Any]], None] | None = getattr(span, "set_own_attributes", None)
    if set_own is None:
        span.set_attributes(attributes)
    else:
        set_own(attributes)
