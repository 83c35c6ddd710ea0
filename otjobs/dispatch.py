"""The span of a publication, and the carrier that it puts into the payload."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import Link, SpanKind

from otjobs import attributes as a
from otjobs import clock, given
from otjobs.carrier import encode
from otjobs.faults import guard, note
from otjobs.propagation import with_span
from otjobs.span_attributes import attributes_of, set_attributes
from otjobs.span_errors import error_of, record_error
from otjobs.surroundings import composite_in, dispatcher_in, inherit, trace_of
from otjobs.texts import bounded
from otjobs.tracing import active, own_service, start_span

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span

    from otjobs.job import Job
    from otjobs.surroundings import Composite, Dispatcher


class Dispatch:
    """One publication of a job: the PRODUCER span around it and the carrier to put into the payload.

    Applications get one from `dispatching`.

    Args:
        job: the job; it is enqueued now where it does not say when.
        context: whose child it is; the current context by default.
        identity: also write system and job id into the carrier.
        started_at: unix ns, the start of the span; that of the enqueue by default.

    Attributes:
        job: the publication's record: ids, type, queue, times, labels.
        carrier: a flat dict of strings; empty where nothing is traced (`OTEL_SDK_DISABLED`).
        span: the dispatch span; not recording where the sampler said no.
        started_at: unix ns.
    """

    __slots__ = (
        "_again",
        "_context",
        "_counter",
        "_ended",
        "_identity",
        "_token",
        "carrier",
        "job",
        "span",
        "started_at",
    )

    def __init__(
        self, job: Job, *, context: Context | None = None, identity: bool = True, started_at: int | None = None
    ) -> None:
        self.job = job
        self.carrier: dict[str, str] = {}
        self.span: Span = trace.INVALID_SPAN
        self._context = otel_context.get_current() if context is None else context
        self._counter: Dispatcher | Composite | None = None
        self._again = False
        self._ended = False
        self._identity = identity
        self._token: Any = None
        if job.enqueued_at is None:
            job.enqueued_at = clock.source()
        self.started_at = job.enqueued_at if started_at is None else started_at
        try:
            if active():
                self._start()
        except Exception as error:
            note("a publication could not be traced", error)

    def _start(self) -> None:
        job, parent_context = self.job, self._context
        dispatcher = dispatcher_in(parent_context) if parent_context else None
        self._counter = composite_in(parent_context) if dispatcher is None and parent_context else dispatcher
        if dispatcher is not None and job.enqueued_at is not None and job.job_id:
            before, job.enqueued_at = job.enqueued_at, dispatcher.first_enqueue(job.system, job.job_id, job.enqueued_at)
            self._again = before != job.enqueued_at
        inherit(job, dispatcher, parent_context)
        job.producer = own_service()
        self.span = start_span(
            f"dispatch {job.job_type}",
            context=parent_context,
            kind=SpanKind.PRODUCER,
            attributes=attributes_of(job, "send", "dispatch", trace_of(parent_context) if job.workflow_id else ""),
            links=[Link(link) for link in job.links] if job.links else (),
            start_time=self.started_at,
        )
        own = self.span.get_span_context()
        if job.workflow_id and own.is_valid and job.workflow_id == f"{own.trace_id:032x}":
            job.workflow_id = ""  # derived by every reader
        self._context = with_span(self.span, parent_context)
        self.carrier = encode(job, own, parent_context, identity=self._identity)

    @property
    def job_id(self) -> str:
        """The job's id."""
        return self.job.job_id

    def rename(self, job_id: str) -> None:
        """Give the job the id that only the queue could choose, during or after the publish."""
        with guard("a job could not be given its id"):
            found = given.text(job_id, "job_id")
            if not found:
                return
            self.job.job_id = found
            found = bounded(found)
            set_attributes(self.span, {a.JOB_ID: found})
            if self._identity and self.carrier:
                self.carrier["id"] = found

    def stamp(self) -> None:
        """Say that the message leaves only now: what came before (connecting, declaring) is no wait in a queue."""
        try:
            if self._again or not self.carrier:
                return
            now = clock.source()
            if self._counter is not None:
                self._counter.enqueued(self.job.system, self.job.job_id, now)
            self.job.enqueued_at = now
            self.carrier["enqueued_at"] = str(now)
            set_attributes(self.span, {a.ENQUEUED_AT: now})
        except Exception as error:
            note("the time of a publication could not be noted", error)

    def activate(self) -> None:
        """Make the span current until `end`."""
        try:
            self._token = otel_context.attach(self._context)
        except Exception as error:
            note("a publication could not be made current", error)

    def end(self, error: BaseException | None = None) -> None:
        """End the span; with an error the publish failed and there is no job."""
        if self._ended:
            return
        self._ended = True
        if self._token is not None:
            otel_context.detach(self._token)
            self._token = None
        try:
            reason = ""
            if error is not None:
                error, reason = error_of(error)
            if reason:
                record_error(self.span, reason, error, expected=False)
                set_attributes(self.span, {a.ERROR_TYPE: bounded(reason)})
            elif self._counter is not None:
                self._counter.child(self.job.system, self.job.job_id)
            self.span.end(max(clock.source(), self.started_at, self.job.enqueued_at or 0))
        except Exception as fault:
            note("a dispatch span could not be ended", fault)

    def __enter__(self) -> Self:
        self.activate()
        return self

    def __exit__(self, kind: object, error: BaseException | None, tb: object) -> None:
        self.end(error)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, kind: object, error: BaseException | None, tb: object) -> None:
        self.__exit__(kind, error, tb)
