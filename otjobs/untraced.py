"""Jobs that are left untraced: what they dispatch belongs to the job above them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry import trace

from otjobs.carrier import decode, encode, job_from
from otjobs.job import Job
from otjobs.surroundings import dispatcher_in, inherit, with_dispatcher

if TYPE_CHECKING:
    from opentelemetry.context import Context


class Untraced:
    """A job that is left untraced: what it dispatches belongs to whatever dispatched it."""

    __slots__ = ("job", "workflow_id")

    def __init__(self, job: Job, workflow_id: str) -> None:
        self.job = job
        """The nearest traced job above it; without an id where it was itself a root."""
        self.workflow_id = workflow_id

    def child(self, system: str, job_id: str) -> None:
        """Count nothing: the attempt above has reported, or cannot know."""

    def first_enqueue(self, system: str, job_id: str, enqueued_at: int) -> int:  # noqa: ARG002  (as an attempt's)
        """Remember nothing, as `child`."""
        return enqueued_at

    def enqueued(self, system: str, job_id: str, enqueued_at: int) -> None:
        """Remember nothing, as `child`."""


def untraced_carrier(context: Context) -> dict[str, str]:
    """Return the carrier of a job that is left untraced: that of its dispatcher, where its children belong."""
    dispatcher = dispatcher_in(context)
    job = Job(system="", job_type="", job_id="")
    inherit(job, dispatcher, context)
    if dispatcher is not None:
        job = dispatcher.job.changed(labels=job.labels, workflow_id=dispatcher.workflow_id)
    return encode(job, trace.get_current_span(context).get_span_context(), context)


def untraced_context(raw: object) -> Context:
    """Return the context in which an untraced job runs, from the carrier made by `untraced_carrier` (or its own)."""
    carrier = decode(raw)
    if not carrier.known:
        return carrier.context
    job = job_from(carrier, {})
    own = "" if carrier.dispatch is None else f"{carrier.dispatch.trace_id:032x}"
    return with_dispatcher(carrier.context, Untraced(job, job.workflow_id or own))
