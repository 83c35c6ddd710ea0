"""The span of an attempt that this process runs, its children and its outcome.

Trace shape and attributes are those of docs/reference/attributes.md. An `Execution` is started, made current, and ended
exactly once; it keeps working as a no-op when the sampler says no.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from opentelemetry import context as otel_context
from opentelemetry import trace

from otjobs import attributes as a
from otjobs import beacon, clock, given, times
from otjobs.attempt import describe_end, start_execute
from otjobs.faults import guard, note
from otjobs.next_attempt import next_carrier
from otjobs.span_attributes import set_attributes
from otjobs.span_errors import error_of, is_cancellation
from otjobs.surroundings import as_dispatcher, dispatcher_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.context import Context
    from opentelemetry.trace import Span

    from otjobs.carrier import Carrier
    from otjobs.job import Job

MAX_CHILDREN: Final = 1000
"""Jobs of one attempt whose first enqueue time is remembered, should it dispatch them once more."""


class Execution:
    """One attempt of a job: the CONSUMER span around it, its children and its outcome.

    Applications get one from `executing` or `current_execution`.

    Args:
        job: the attempt's record.
        carrier: what the payload carried.
        cpu: the attempt has its thread for itself, so the thread's CPU time is its own.
        started_at: unix ns, now by default.
        observed: another process ran it, and this one reports its end.

    Attributes:
        job: the attempt's record: ids, type, queue, times, labels.
        carrier: what the payload carried, decoded.
        span: the execute span; not recording where the sampler said no.
        context: the context that the span was started in.
        workflow_id: 32 hex digits, '' where nothing is traced.
        started_at: unix ns.
        observed: another process ran it, and this one reports its end.
        outcome: what `set_outcome` noted, '' before.
        error: the exception that was noted with it.
        error_type: the reason that was noted with it.
        dead_letter: the job was noted as set aside for good.
        retry_ready_at: when the next attempt is ready, unix ns; None where no publication has told it.
        attempt_attributes: the attributes that the span started with, which its beacons repeat.
    """

    __slots__ = (
        "_children",
        "_cpu_start",
        "_ended",
        "_enqueued",
        "_published_later",
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
        "retry_ready_at",
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
        self._enqueued: dict[int, int] | None = None
        self._ended = False
        self._token: Any = None
        self.outcome: a.Outcome | Literal[""] = ""
        self.error: BaseException | None = None
        self.error_type = ""
        self.dead_letter = False
        self.retry_ready_at: int | None = None
        self._published_later = False
        self.started_at = clock.source() if started_at is None else started_at
        self.span: Span = trace.INVALID_SPAN
        self.context, self.workflow_id = carrier.context, job.workflow_id
        self.attempt_attributes: dict[str, Any] = {}
        try:
            self.span, self.context, self.workflow_id, self.attempt_attributes = start_execute(
                job, carrier, self.started_at
            )
        except Exception as error:
            note("an attempt could not be traced", error)
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
        try:
            self._token = otel_context.attach(as_dispatcher(self, self.span, self.context))
            if self.span.is_recording() and not self.observed:
                beacon.watch(self)
        except Exception as error:
            note("an attempt could not be made current", error)

    def deactivate(self) -> None:
        """Give the context back that was current before `activate`; the span goes on."""
        if self._token is not None:
            token, self._token = self._token, None
            otel_context.detach(token)

    def is_of(self, system: str, job_id: str) -> bool:
        """Tell whether it is an attempt of this job."""
        return job_id == self.job.job_id and system == self.job.system

    def child(self, system: str, job_id: str) -> None:
        """Count a job that this attempt dispatched; its own re-publications do not count."""
        if not self.is_of(system, job_id):
            self._children.add(hash((system, job_id)))

    def first_enqueue(self, system: str, job_id: str, enqueued_at: int) -> int:
        """Return when this attempt first dispatched that job: an id that it dispatches twice is one job all the same.

        The first 1000 jobs are remembered.
        """
        known = self._enqueued = self._enqueued or {}
        key = hash((system, job_id))
        if len(known) < MAX_CHILDREN:
            return known.setdefault(key, enqueued_at)
        return known.get(key, enqueued_at)

    def enqueued(self, system: str, job_id: str, enqueued_at: int) -> None:
        """Correct what `first_enqueue` remembers of a job whose message leaves only now."""
        key = hash((system, job_id))
        if self._enqueued is not None and key in self._enqueued:
            self._enqueued[key] = enqueued_at

    @property
    def dispatched(self) -> int:
        """The number of distinct other jobs dispatched so far."""
        return len(self._children)

    def set_outcome(
        self, outcome: a.Outcome, *, error: BaseException | None = None, error_type: str = "", dead_letter: bool = False
    ) -> None:
        """Say how the attempt ends, in place of what the end of the block would say.

        Args:
            outcome: success, failure, retry, expired, cancelled, rejected or lost.
            error: the exception behind it; its class becomes `error.type`. A retry keeps the one noted before.
            error_type: the reason, where there is no exception.
            dead_letter: the job is set aside for good.
        """
        with guard("the outcome of an attempt could not be noted"):
            self.outcome, self.dead_letter = given.outcome(outcome), given.flag(dead_letter, "dead_letter")
            error, reason = error_of(error)
            reason = given.text(error_type, "error_type") or reason
            if reason or self.outcome != "retry":  # a retry keeps the error that was noted before
                self.error, self.error_type = error, reason

    def limit_attempts(self, most: int | None) -> None:
        """Say how many attempts the job may have, where that is known only now."""
        with guard("the limit of a job's attempts could not be noted"):
            limit = given.count(most, "max_attempts")
            if limit is not None and limit != self.job.max_attempts:
                self.job.max_attempts = limit
                set_attributes(self.span, {a.MAX_ATTEMPTS: limit})

    def retry(
        self, *, due_at: int | None = None, delay_seconds: float | None = None, error: BaseException | None = None
    ) -> dict[str, str]:
        """End as a retry and return the carrier of the next attempt's publication.

        Args:
            due_at: earliest allowed start of the next attempt, unix ns.
            delay_seconds: the same, from now.
            error: why.
        """
        with guard("the next attempt of a job could not be prepared"):
            self.set_outcome("retry", error=error)
            due_at = times.deadline(due_at, "due_at")
            delay = given.seconds(delay_seconds, "delay_seconds")
            if due_at is None and delay is not None:
                due_at = times.after(clock.source(), delay)
            return self.next_carrier(due_at=due_at)
        return {}

    def next_carrier(
        self, *, due_at: int | None = None, identity: bool = True, published_later: bool = False
    ) -> dict[str, str]:
        """Return the carrier of a re-publication of this job.

        Args:
            due_at: earliest allowed start of the next attempt, unix ns.
            identity: also write system and job id, for queues that keep them nowhere else.
            published_later: another job publishes the next attempt, nobody knows when.
        """
        with guard("the carrier of the next attempt could not be made"):
            carrier = next_carrier(
                self.job,
                self.carrier.dispatch or (None if self.carrier.known else self.span.get_span_context()),
                self.context,
                previous=self.span.get_span_context(),
                due_at=times.deadline(due_at, "due_at"),
                started_at=self.started_at,
                identity=identity,
            )
            self._published_later = published_later
            if carrier and not published_later:
                self.note_publication(carrier)
            return carrier
        return {}

    def note_publication(self, carrier: Mapping[str, str]) -> None:
        """Take the moment when the next attempt is ready from its carrier, as it is published."""
        self.retry_ready_at = max(int(carrier["published_at"]), int(carrier.get("due_at", 0)))

    def end(
        self,
        outcome: a.Outcome | Literal[""] = "",
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
        given_end = None if ended_at is None else times.moment(ended_at, "ended_at")
        end = max(clock.source() if given_end is None else given_end, self.started_at)
        try:
            self._describe_end(outcome, error, error_type, expected, end)
        except Exception as fault:
            note("the end of an attempt could not be described in full", fault)
        try:
            self.span.end(end)
        except Exception as fault:
            note("an execute span could not be ended", fault)

    def _describe_end(
        self, outcome: str, error: BaseException | None, error_type: str, expected: bool, end: int
    ) -> None:
        reason = ""
        if error is not None:
            error, reason = error_of(error)
        outcome = self.outcome or given.text(outcome, "outcome") or ("failure" if reason else "success")
        if outcome not in a.OUTCOMES:
            outcome = given.outcome(outcome)
        if self.error is not None:
            error, reason = error_of(self.error)
        error_type = self.error_type or (error_type and given.text(error_type, "error_type")) or reason
        on_its_thread = self._thread and self._thread == threading.get_ident()
        if outcome != "retry" or self._published_later:
            self.retry_ready_at = None
        elif self.retry_ready_at is None:
            self.retry_ready_at = end  # the message goes back to the queue as it is
        describe_end(
            self.span,
            outcome,
            error=error,
            error_type=error_type,
            expected=given.flag(expected, "expected"),
            dead_letter=self.dead_letter,
            observed=self.observed,
            dispatched=None if self.observed else len(self._children),
            retry_ready_at=self.retry_ready_at,
            cpu_seconds=time.thread_time() - self._cpu_start if on_its_thread else None,
        )

    def abandon(self) -> None:
        """Leave the end of the attempt to another process, which reports it as observed: this span is never sent."""
        self._ended = True
        beacon.forget(self)
        self.deactivate()

    def __enter__(self) -> Self:
        self.activate()
        return self

    def __exit__(self, kind: object, error: BaseException | None, tb: object) -> None:
        self.end("cancelled" if is_cancellation(error) else "", error=error)

    async def __aenter__(self) -> Self:
        self._thread = 0  # other tasks share the thread, so its CPU time is not this job's
        return self.__enter__()

    async def __aexit__(self, kind: object, error: BaseException | None, tb: object) -> None:
        self.__exit__(kind, error, tb)


def execution_in(context: Context) -> Execution | None:
    """Return the attempt that runs in this context, None outside of jobs and in untraced ones."""
    found = dispatcher_in(context)
    return found if isinstance(found, Execution) else None


def running_here(system: str, job_id: str, context: Context) -> Execution | None:
    """Return the attempt of this job that runs in this context: of attempts inside each other, the innermost counts.

    A publication of that job is its next attempt; every other job is dispatched by it.
    """
    found = execution_in(context)
    return found if found is not None and found.is_of(system, job_id) else None


def current_execution() -> Execution | None:
    """Return the attempt that runs in the current context, None outside of jobs."""
    return execution_in(otel_context.get_current())
