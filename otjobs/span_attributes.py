"""A job record in the words of the wire: span attributes, errors, and back from a carrier."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.trace import Status, StatusCode

from otjobs import attributes as a
from otjobs import given
from otjobs import job as jobs
from otjobs.carrier import Carrier, encode
from otjobs.config import settings
from otjobs.errors import guard, warn
from otjobs.job import Job, Parent, default_worker
from otjobs.sdk.own_attributes import made_sound
from otjobs.texts import bounded, mended
from otjobs.tracing import active, own_service

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.context import Context
    from opentelemetry.trace import Span, SpanContext

MAX_MESSAGE: Final = 4096
MAX_STACK: Final = 32_768
MAX_FRAMES: Final = 100


def attributes_of(job: Job, operation: str, name: str, trace_id: str) -> dict[str, Any]:
    """Return the attributes of a span of this job that are known when it starts."""
    out: dict[str, Any] = {
        a.SYSTEM: job.system,
        a.OPERATION_TYPE: operation,
        a.OPERATION_NAME: name,
        a.QUEUE: job.queue,
        a.JOB_ID: job.job_id,
        a.JOB_TYPE: job.job_type,
    }
    if job.enqueued_at is not None:
        out[a.ENQUEUED_AT] = job.enqueued_at
        if job.producer and operation != "send" and job.producer != own_service():
            out[a.PRODUCER] = job.producer
    if operation != "send":
        out[a.ATTEMPT] = job.attempt
        out[a.WORKER] = job.worker or default_worker()
        if job.received_at is not None:
            out[a.RECEIVED_AT] = job.received_at
        if job.redelivered:
            out[a.REDELIVERED] = True
        if job.broadcast:
            out[a.BROADCAST] = True
        if job.published_at is not None and job.published_at != job.enqueued_at:
            out[a.PUBLISHED_AT] = job.published_at
        if job.first_started_at is not None and job.enqueued_at is None:
            out[a.FIRST_STARTED_AT] = job.first_started_at
    for key, number in (
        (a.DUE_AT, job.due_at),
        (a.EXPIRES_AT, job.expires_at),
        (a.MAX_ATTEMPTS, job.max_attempts),
    ):
        if number is not None:
            out[key] = number
    if job.first_queue and job.first_queue != job.queue:
        out[a.JOB_QUEUE] = job.first_queue
    if job.workflow_id and job.workflow_id != trace_id:
        out[a.WORKFLOW_ID] = job.workflow_id
    if job.group_id:
        out[a.GROUP_ID] = job.group_id
    if job.parent is not None:
        _parent_attributes(job, job.parent, out)
    else:
        if job.roots is not None:
            out[a.WORKFLOW_ROOTS] = job.roots
        if job.trigger:
            out[a.TRIGGER] = job.trigger
            out[a.TRIGGER_NAME] = job.trigger_name
    for key, value in job.labels.items():
        out[a.LABEL_PREFIX + key] = value
    return out


def _parent_attributes(job: Job, parent: Parent, out: dict[str, Any]) -> None:
    out[a.PARENT_ID] = parent.id
    out[a.PARENT_TYPE] = parent.type
    out[a.PARENT_ATTEMPT] = parent.attempt
    if job.workflow_type:
        out[a.WORKFLOW_TYPE] = job.workflow_type
    if job.workflow_started_at is not None:
        out[a.WORKFLOW_STARTED_AT] = job.workflow_started_at


def set_attributes(span: Span, attributes: dict[str, Any]) -> None:
    """Set attributes of ours on a span that has started."""
    span.set_attributes(made_sound(attributes))


def outcome_of(value: object) -> str:
    """Return an outcome; an unknown one counts as failure."""
    found = given.text(value, "outcome", "failure")
    if found not in a.OUTCOMES:
        warn("an unknown outcome was given and counts as failure", found)
        found = "failure"
    return found


def error_of(error: object) -> tuple[BaseException | None, str]:
    """Return the exception, where it is one, and its class's name; an exception class and a text count as reasons."""
    if error is None:
        return None, ""
    if isinstance(error, BaseException):
        return error, _name_of(type(error))
    if type(error) is type and issubclass(error, BaseException):
        return None, _name_of(error)
    return None, given.text(error, "error") or "Error"


def _name_of(kind: type) -> str:
    with guard("the class of an exception has no name"):
        return kind.__name__
    return "Error"


def record_error(span: Span, error_type: str, error: BaseException | None, *, expected: bool) -> None:
    """Put an exception on a span as far as the settings allow, and its status unless it was expected."""
    how = settings().exceptions
    message = None
    event: dict[str, str] = {}
    if error is not None and how != "type":
        with guard("an exception could not be put into words"):
            message = mended(str(error)[:MAX_MESSAGE])
            event = {"exception.type": bounded(error_type), "exception.message": message}
    if error is not None and how == "stack":
        with guard("the stack of an exception could not be put into words"):
            kind = type(error)
            where = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
            event["exception.type"] = bounded(f"{where}{kind.__qualname__}")
            stack = "".join(traceback.format_exception(error, limit=MAX_FRAMES))
            event["exception.stacktrace"] = mended(stack[:MAX_STACK])
    if not expected:
        span.set_status(Status(StatusCode.ERROR, message))
    if event:
        span.add_event("exception", event)


def is_cancellation(error: BaseException | None) -> bool:
    """Tell whether the exception is an asynchronous framework's cancellation."""
    with guard("the class of an exception cannot be looked at"):
        return error is not None and any(c.__name__ == "CancelledError" for c in type(error).__mro__)
    return False


def next_carrier(
    job: Job,
    dispatch: SpanContext | None,
    context: Context | None,
    *,
    previous: SpanContext | None = None,
    due_at: int | None = None,
    started_at: int | None = None,
    identity: bool = True,
) -> dict[str, str]:
    """Return the carrier for publishing the next attempt of a job; the original dispatch stays its parent.

    Where nothing is traced, a carrier that came in goes on, and none is made.
    """
    if (dispatch is None or not dispatch.is_valid) and not active():
        return {}
    following = job.changed(
        attempt=job.attempt + 1,
        published_at=jobs.now(),
        due_at=due_at,
        first_queue=job.first_queue or job.queue,
        first_started_at=(job.first_started_at or started_at) if job.enqueued_at is None else None,
    )
    return encode(following, dispatch, context, previous=previous, identity=identity)


def job_from(carrier: Carrier, defaults: Mapping[str, Any]) -> Job:
    """Return the attempt that a carrier and what the queue library knows (which wins) describe together."""
    known = {key: value for key, value in defaults.items() if value is not None and value != ""}
    # A job's type and first queue are those of its first publication.
    job_type = known.pop("job_type", "")
    attempt = max(given.count(known.pop("attempt", None), "attempt") or 1, carrier.attempt)
    fields: dict[str, Any] = {
        "system": carrier.system or "custom",
        "job_id": carrier.job_id,
        "queue": carrier.queue,
        "parent": carrier.parent,
        **carrier.fields,
    }
    if attempt > carrier.attempt and carrier.known:
        # Somebody who knows nothing of carriers re-published the job: the times in it are an older attempt's.
        fields["published_at"] = fields["due_at"] = None
    if known.get("redelivered"):
        attempt += 1
        fields["published_at"] = None
    fields.update(known)
    job = Job(job_type=carrier.job_type or job_type or "unknown", attempt=attempt, **fields)
    if carrier.queue and carrier.queue != job.queue:
        job.first_queue = carrier.queue
    return job
