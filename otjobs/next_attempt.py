"""The carrier of a job's next attempt, for whoever publishes the job again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otjobs import clock
from otjobs.carrier import encode
from otjobs.tracing import active

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import SpanContext

    from otjobs.job import Job


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
        published_at=clock.now(),
        due_at=due_at,
        first_queue=job.first_queue or job.queue,
        first_started_at=(job.first_started_at or started_at) if job.enqueued_at is None else None,
    )
    return encode(following, dispatch, context, previous=previous, identity=identity)
