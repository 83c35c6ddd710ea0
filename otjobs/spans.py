"""The spans of jobs: dispatching, executing, ended elsewhere.

Trace shape and attributes are those of docs/reference/attributes.md. A `Dispatch` or `Execution` is started, made
current, and ended exactly once; both keep working as no-ops when the sampler says no.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Self

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import Link, SpanKind

from otjobs import attributes as a
from otjobs import beacon
from otjobs import job as jobs
from otjobs.carrier import Carrier, encode
from otjobs.config import settings
from otjobs.errors import guard, warn
from otjobs.inherit import dispatcher_in, execution_in, inherit, labels, trace_of, with_execution
from otjobs.providers import own_service, start_span
from otjobs.wire import attributes_of, is_cancellation, job_from, next_carrier, record_error

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, SpanContext

    from otjobs.job import Job

__all__ = [
    "Dispatch",
    "Execution",
    "current_execution",
    "ended_elsewhere",
    "job_from",
    "labels",
    "next_carrier",
]


class Dispatch:
    """One publication of a job: the PRODUCER span around it and the carrier to put into the payload."""

    __slots__ = ("_context", "_dispatcher", "_ended", "_identity", "_token", "carrier", "job", "span")

    def __init__(self, job: Job, *, context: Context | None = None, identity: bool = True) -> None:
        parent_context = otel_context.get_current() if context is None else context
        self.job = job
        self._dispatcher = dispatcher_in(parent_context)
        self._ended = False
        self._identity = identity
        self._token: Any = None
        if job.enqueued_at is None:
            job.enqueued_at = jobs.now()
        inherit(job, self._dispatcher, parent_context)
        job.producer = own_service()
        self.span: Span = start_span(
            f"dispatch {job.job_type}",
            context=parent_context,
            kind=SpanKind.PRODUCER,
            attributes=attributes_of(job, "send", "dispatch", trace_of(parent_context) if job.workflow_id else ""),
            links=[Link(link) for link in job.links] if job.links else (),
            start_time=job.enqueued_at,
        )
        own = self.span.get_span_context()
        if job.workflow_id and own.is_valid and job.workflow_id == f"{own.trace_id:032x}":
            job.workflow_id = ""  # derived by every reader
        self._context = trace.set_span_in_context(self.span, parent_context)
        self.carrier: dict[str, str] = encode(job, own, parent_context, identity=identity)

    @property
    def job_id(self) -> str:
        """The job's id."""
        return self.job.job_id

    def rename(self, job_id: str) -> None:
        """Give the job the id that only the queue could choose, during or after the publish."""
        self.job.job_id = job_id
        self.span.set_attribute(a.JOB_ID, job_id)
        if self._identity:
            self.carrier["id"] = job_id

    def activate(self) -> None:
        """Make the span current until `end`."""
        self._token = otel_context.attach(self._context)

    def end(self, error: BaseException | None = None) -> None:
        """End the span; with an error the publish failed and there is no job."""
        if self._ended:
            return
        self._ended = True
        if self._token is not None:
            otel_context.detach(self._token)
            self._token = None
        if error is not None:
            record_error(self.span, type(error).__name__, error, expected=False)
            self.span.set_attribute(a.ERROR_TYPE, type(error).__name__)
        elif self._dispatcher is not None:
            self._dispatcher.child(self.job.system, self.job.job_id)
        self.span.end(max(jobs.now(), self.job.enqueued_at or 0))

    def __enter__(self) -> Self:
        self.activate()
        return self

    def __exit__(self, kind: object, error: BaseException | None, tb: object) -> None:
        with guard("a dispatch span could not be ended"):
            self.end(error)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, kind: object, error: BaseException | None, tb: object) -> None:
        self.__exit__(kind, error, tb)


class Execution:
    """One attempt of a job: the CONSUMER span around it, its children and its outcome."""

    __slots__ = (
        "_children",
        "_cpu_start",
        "_ended",
        "_next",
        "_thread",
        "_token",
        "attempt_attributes",
        "carrier",
        "context",
        "dead_letter",
        "error",
        "error_type",
        "job",
        "observed",
        "outcome",
        "span",
        "started_at",
        "workflow_id",
    )

    def __init__(
        self, job: Job, carrier: Carrier, *, cpu: bool = True, started_at: int | None = None, observed: bool = False
    ) -> None:
        self.observed = observed
        self.job = job
        self.carrier = carrier
        self._children: set[int] = set()
        self._ended = False
        self._token: Any = None
        self.outcome = ""
        self.error: BaseException | None = None
        self.error_type = ""
        self.dead_letter = False
        self._next: dict[str, str] | None = None
        self.started_at = jobs.now() if started_at is None else started_at
        self.span, self.context, self.workflow_id, self.attempt_attributes = _start_execute(
            job, carrier, self.started_at
        )
        self._thread = threading.get_ident() if cpu else 0
        self._cpu_start = time.thread_time() if cpu else 0.0

    @property
    def job_id(self) -> str:
        """The job's id."""
        return self.job.job_id

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1."""
        return self.job.attempt

    @property
    def ended(self) -> bool:
        """True after `end`."""
        return self._ended

    def activate(self) -> None:
        """Make the span current, with the job's baggage, and let beacons be sent."""
        context = with_execution(trace.set_span_in_context(self.span, self.context), self)
        self._token = otel_context.attach(context)
        if self.span.is_recording() and not self.observed:
            beacon.watch(self)

    def deactivate(self) -> None:
        """Give the context back that was current before `activate`; the span goes on."""
        if self._token is not None:
            token, self._token = self._token, None
            otel_context.detach(token)

    def child(self, system: str, job_id: str) -> None:
        """Count a job that this attempt dispatched; its own re-publications do not count."""
        if job_id != self.job.job_id or system != self.job.system:
            self._children.add(hash((system, job_id)))

    @property
    def dispatched(self) -> int:
        """The number of distinct other jobs dispatched so far."""
        return len(self._children)

    def set_outcome(
        self, outcome: str, *, error: BaseException | None = None, error_type: str = "", dead_letter: bool = False
    ) -> None:
        """Say how the attempt ends, in place of what the end of the block would say.

        Args:
            outcome: success, failure, retry, expired, cancelled, rejected or lost.
            error: the exception behind it; its class becomes `error.type`.
            error_type: the reason, where there is no exception.
            dead_letter: the job is set aside for good.
        """
        if outcome not in a.OUTCOMES:
            warn("an unknown outcome was given and counts as failure", outcome)
            outcome = "failure"
        self.outcome, self.dead_letter = outcome, dead_letter
        self.error = error
        self.error_type = error_type or ("" if error is None else type(error).__name__)

    def limit_attempts(self, most: int) -> None:
        """Say how many attempts the job may have, where that is known only now."""
        if most != self.job.max_attempts:
            self.job.max_attempts = most
            self.span.set_attribute(a.MAX_ATTEMPTS, most)

    def retry(
        self, *, due_at: int | None = None, delay_seconds: float | None = None, error: BaseException | None = None
    ) -> dict[str, str]:
        """End as a retry and return the carrier of the next attempt's publication.

        Args:
            due_at: earliest allowed start of the next attempt, unix ns.
            delay_seconds: the same, from now.
            error: why.
        """
        self.set_outcome("retry", error=error, error_type="" if error else self.error_type)
        if due_at is None and delay_seconds is not None:
            due_at = jobs.now() + int(delay_seconds * 1e9)
        return self.next_carrier(due_at=due_at)

    def next_carrier(self, *, due_at: int | None = None, identity: bool = True) -> dict[str, str]:
        """Return the carrier of a re-publication of this job, due at the given unix ns."""
        return next_carrier(
            self.job,
            self.carrier.dispatch or (None if self.carrier.known else self.span.get_span_context()),
            self.context,
            previous=self.span.get_span_context(),
            due_at=due_at,
            started_at=self.started_at,
            identity=identity,
        )

    def end(
        self,
        outcome: str = "",
        *,
        error: BaseException | None = None,
        error_type: str = "",
        expected: bool = False,
        ended_at: int | None = None,
    ) -> None:
        """End the span once; later calls do nothing.

        Args:
            outcome: as in `set_outcome`, which wins if it was called.
            error: the exception behind it.
            error_type: the reason, where there is no exception.
            expected: a failure that the application declared expected leaves the span status Unset.
            ended_at: unix ns, now by default.
        """
        if self._ended:
            return
        self._ended = True
        beacon.forget(self)
        self.deactivate()
        outcome = self.outcome or outcome or ("success" if error is None else "failure")
        error = self.error if self.error is not None else error
        error_type = self.error_type or error_type or ("" if error is None else type(error).__name__)
        late: dict[str, Any] = {a.OUTCOME: outcome}
        if self.observed:
            late[a.OBSERVED] = True  # and what it dispatched is unknown
        else:
            late[a.DISPATCHED] = len(self._children)
        if self.dead_letter:
            late[a.DEAD_LETTER] = True
        if error_type and outcome != "success":
            late[a.ERROR_TYPE] = error_type
        if self._thread and self._thread == threading.get_ident():
            late[a.CPU_SECONDS] = time.thread_time() - self._cpu_start
        self.span.set_attributes(late)
        if outcome in ("failure", "lost", "rejected") or (outcome == "retry" and error is not None):
            record_error(self.span, error_type, error, expected=expected or outcome == "retry")
        self.span.end(max(jobs.now() if ended_at is None else ended_at, self.started_at))

    def abandon(self) -> None:
        """Leave the end of the attempt to another process, which reports it as observed: this span is never sent."""
        self._ended = True
        beacon.forget(self)
        self.deactivate()

    def __enter__(self) -> Self:
        self.activate()
        return self

    def __exit__(self, kind: object, error: BaseException | None, tb: object) -> None:
        with guard("an execute span could not be ended"):
            self.end("cancelled" if is_cancellation(error) else "", error=error)

    async def __aenter__(self) -> Self:
        self._thread = 0  # other tasks share the thread, so its CPU time is not this job's
        return self.__enter__()

    async def __aexit__(self, kind: object, error: BaseException | None, tb: object) -> None:
        self.__exit__(kind, error, tb)


def ended_elsewhere(
    job: Job,
    carrier: Carrier,
    outcome: str,
    *,
    error: BaseException | None = None,
    error_type: str = "",
    started_at: int | None = None,
    ended_at: int | None = None,
    observed: bool = True,
    dead_letter: bool = False,
    expected: bool = False,
) -> SpanContext:
    """Write the execute span of an attempt that this process did not run, or that never ran.

    Args:
        job: the job; its attempt number is the attempt's.
        carrier: what the payload carried.
        outcome: how it ended.
        error: the exception behind it, if there is one.
        error_type: the reason, otherwise.
        started_at: unix ns; None for an attempt that never started, whose span then has no length.
        ended_at: unix ns, now by default.
        observed: False when the reporter is the process that ran it.
        dead_letter: the job is set aside for good.
        expected: leave the span status Unset.

    Returns:
        The span's context.
    """
    end = jobs.now() if ended_at is None else ended_at
    start = end if started_at is None else min(started_at, end)
    span, _, _, _ = _start_execute(job, carrier, start)
    late: dict[str, Any] = {a.OUTCOME: outcome}
    if observed and started_at is not None:
        late[a.OBSERVED] = True
    if started_at is None:
        late[a.DISPATCHED] = 0
    if dead_letter:
        late[a.DEAD_LETTER] = True
    error_type = error_type or ("" if error is None else type(error).__name__)
    if error_type and outcome != "success":
        late[a.ERROR_TYPE] = error_type
    span.set_attributes(late)
    if outcome in ("failure", "lost", "rejected"):
        record_error(span, error_type, error, expected=expected)
    span.end(end)
    return span.get_span_context()


def current_execution() -> Execution | None:
    """Return the attempt that runs in the current context, None outside of jobs."""
    return execution_in(otel_context.get_current())


def _start_execute(job: Job, carrier: Carrier, started_at: int) -> tuple[Span, Context, str, dict[str, Any]]:
    """Start the execute span of an attempt; returns it, its parent context, the workflow id and its attributes."""
    context = carrier.context
    dispatch = carrier.dispatch
    links = [Link(target) for target in (dispatch, carrier.previous, *job.links) if target is not None]
    if settings().link_mode and dispatch is not None:
        context = trace.set_span_in_context(trace.INVALID_SPAN, context)
    trace_id = ""
    if dispatch is not None:
        trace_id = f"{dispatch.trace_id:032x}"
    workflow_id = job.workflow_id or trace_id
    own_trace = "" if settings().link_mode else trace_id
    job.workflow_id = workflow_id
    attributes = attributes_of(job, "process", "execute", own_trace)
    span = start_span(
        f"execute {job.job_type}",
        context=context,
        kind=SpanKind.CONSUMER,
        attributes=attributes,
        links=links,
        start_time=started_at,
    )
    if not workflow_id:
        own = span.get_span_context()
        workflow_id = job.workflow_id = f"{own.trace_id:032x}" if own.is_valid else ""
    return span, context, workflow_id, attributes
