"""One attempt by brute force: what all spans of it that arrived say together, and what a span says."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from model import Job
    from spans_of import Span

S: Final = 1_000_000_000
STATES: Final = {"success": "succeeded", "failure": "failed", "retry": "retrying"}
FAILED: Final = ("failed", "lost", "expired", "rejected")
WENT_WRONG: Final = ("failure", "lost", "expired", "rejected")
Row = dict[str, Any]


def number(span: Span, name: str) -> int | None:
    value = span.attributes.get(name)
    return None if value is None else int(value)


def text(spans: Iterable[Span], name: str) -> str:
    """What the spans agree on, or '' where none says it."""
    return max((span.attributes.get(name, "") for span in spans), default="")


def latest(spans: Iterable[Span], name: str) -> int | None:
    return max((at for span in spans if (at := number(span, name)) is not None), default=None)


def enqueued(span: Span) -> int | None:
    return number(span, "otjobs.job.enqueued_at")


def seconds(start: int | None, end: int | None) -> float | None:
    """The time between two moments; below zero it is 0, unknown where one is."""
    return None if start is None or end is None else max(0, end - start) / S


def total(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def end_of(span: Span) -> int:
    """A span that ends before it starts ends where it starts."""
    return max(span.start, span.end)


def ended_unstarted(span: Span) -> bool:
    outcome = span.attributes.get("otjobs.job.outcome")
    return outcome in ("expired", "cancelled", "rejected") and span.start == span.end


@dataclass(eq=False)
class Attempt:
    """Everything the spans say of one attempt."""

    number: int
    job: Job
    spans: list[Span] = field(default_factory=list)

    def of(self, operation: str) -> list[Span]:
        return [span for span in self.spans if span.operation == operation]

    @cached_property
    def own(self) -> list[Span]:
        return [s for s in self.of("process") if s.attributes.get("otjobs.job.observed") != "true"]

    @cached_property
    def report(self) -> Span | None:
        """The span that all end fields come from: an own one before an observed one, then the latest end."""
        reports = self.own or self.of("process")
        if self.broadcast:  # one that ended badly goes before the others
            bad = [span for span in self.of("process") if span.attributes["otjobs.job.outcome"] in WENT_WRONG]
            reports = [span for span in bad if span in self.own] or bad or reports
        return max(reports, key=lambda span: (end_of(span), span.span_id), default=None)

    @cached_property
    def broadcast(self) -> bool:
        """Whether every worker got the message, so that each has a run of it."""
        return any(span.attributes.get("otjobs.job.broadcast") == "true" for span in self.of("process"))

    @cached_property
    def runs(self) -> list[Attempt]:
        """The attempt itself, or what each worker says of its run, as an attempt."""
        if not self.broadcast:
            return [self]
        workers = {span.attributes["otjobs.worker"] for span in self.of("process")}
        return [self.run_on(worker) for worker in sorted(workers)]

    def run_on(self, worker: str) -> Attempt:
        of_worker = [span for span in self.of("process") if span.attributes["otjobs.worker"] == worker]
        reports = [span for span in of_worker if span in self.own] or of_worker
        return Attempt(self.number, self.job, [max(reports, key=end_of)])

    @cached_property
    def beacon(self) -> Span | None:
        return max(self.of("receive"), key=lambda span: span.end, default=None)

    @cached_property
    def started_at(self) -> int | None:
        started = [s for s in self.of("process") if not ended_unstarted(s)]
        first_hand = [s for s in started if s in self.own] + self.of("receive")
        return min((span.start for span in first_hand or started), default=None)

    @cached_property
    def redelivered(self) -> bool:
        return any(span.attributes.get("otjobs.job.redelivered") == "true" for span in self.spans)

    @cached_property
    def due_at(self) -> int | None:
        return latest(self.spans, "otjobs.job.due_at")

    @cached_property
    def published_at(self) -> int | None:
        if self.redelivered:
            return None
        # When a publication of the first attempt was made, its job was published, too, if under its id for the second time.
        own = [s for s in self.spans if self.number > 1 or number(s, "otjobs.job.published_at") != enqueued(s)]
        said = latest(own, "otjobs.job.published_at")
        return self.job.enqueued_at if said is None and self.number == 1 else said

    @cached_property
    def ready_at(self) -> int | None:
        return None if self.published_at is None else max(self.published_at, self.due_at or 0)

    @cached_property
    def next_ready_at(self) -> int | None:
        """When the attempt after this one is ready, of which there is no span yet; None where none is, or nobody told."""
        if self.outcome != "retry" or self is not self.job.last:
            return None
        return latest(self.spans, "otjobs.job.retry_ready_at")

    @cached_property
    def silent(self) -> bool:
        """Lost without anybody's report: three beacons missed, or a later attempt started."""
        if self.report is not None or self.beacon is None:
            return False
        if any(a.number > self.number and a.started_at is not None for a in self.job.attempts):
            return True
        interval = float(self.beacon.attributes.get("otjobs.beacon.interval_seconds", 30))
        clock = min(self.job.world.now, self.job.world.clocks[self.beacon.service])
        return clock >= self.beacon.end + round(3 * interval * S)

    @cached_property
    def expired_unseen(self) -> bool:
        job = self.job
        touched = any(a.started_at is not None or a.report is not None for a in job.attempts)
        return self.number == 1 and not touched and job.expires_at is not None and job.world.now > job.expires_at

    @cached_property
    def outcome(self) -> str:
        if self.report is not None:
            return self.report.attributes["otjobs.job.outcome"]
        if self.silent:
            return "lost"
        if self.expired_unseen:
            return "expired"
        return "" if self.started_at is None else "running"

    @cached_property
    def ended_at(self) -> int | None:
        if self.report is not None:
            return end_of(self.report)
        if self.silent and self.beacon is not None:
            return self.beacon.end
        return self.job.expires_at if self.expired_unseen else None

    @cached_property
    def queue_seconds(self) -> float | None:
        return seconds(self.ready_at, self.started_at)

    @cached_property
    def run_seconds(self) -> float | None:
        return seconds(self.started_at, self.ended_at)

    @cached_property
    def dispatched(self) -> int:
        return (number(self.report, "otjobs.job.dispatched") or 0) if self.report else 0

    @cached_property
    def teller(self) -> Span | None:
        return self.report or self.beacon

    def told(self, name: str) -> str:
        """An end field: of the report alone."""
        return self.report.attributes.get(name, "") if self.report else ""

    @property
    def row(self) -> Row:
        teller, cpu = self.teller, self.told("otjobs.job.cpu_seconds")
        return {
            **self.job.identity,
            "attempt": self.number,
            "published_at": self.published_at,
            "ready_at": self.ready_at,
            "received_at": latest(self.spans, "otjobs.job.received_at"),
            "started_at": self.started_at,
            "ended_at": self.ended_at,
            "cpu_seconds": float(cpu) if cpu else None,
            "queue_seconds": self.queue_seconds,
            "run_seconds": self.run_seconds,
            "outcome": self.outcome,
            "error_type": self.told("error.type"),
            "enqueued_at": self.job.enqueued_at,
            "parent_id": self.job.parent_id,
            "worker": teller.attributes.get("otjobs.worker", "") if teller else "",
            "host": teller.resource.get("host.name", "") if teller else "",
            "service": teller.service if teller else "",
            "release": teller.resource.get("service.version", "") if teller else "",
            "trace_id": self.trace_id,
            "span_id": "" if teller is None else teller.span_id if teller is self.report else teller.parent_span_id,
        }

    @property
    def trace_id(self) -> str:
        spans = [self.teller] if self.teller else self.spans
        return max(span.trace_id for span in spans)
