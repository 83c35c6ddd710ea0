"""What the services of a history send: its spans, as the wire contract says, and the rows they become."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from history import History, Job, Run, Stray, Workflow

WORDS = {"send": "dispatch", "receive": "start", "process": "execute"}
KINDS = {"send": "Producer", "receive": "Client", "process": "Consumer", "": "Internal"}


@dataclass(frozen=True, eq=False)
class Span:
    operation: str
    """send, receive, process; '' for a span that is none of ours"""
    name: str
    trace_id: str
    span_id: str
    parent_span_id: str
    start: int
    end: int
    service: str
    resource: dict[str, str]
    attributes: dict[str, str]
    status: str = "Unset"

    @property
    def row(self) -> tuple[Any, ...]:
        """The row of the landing table, in the order of its columns."""
        duration = (self.end - self.start) % 2**64  # as the collector's exporter writes an end before the start
        return (
            self.start, self.trace_id, self.span_id, self.parent_span_id, "", self.name, KINDS[self.operation],
            self.service, self.resource, "otjobs", "", self.attributes, duration, self.status, "",
            [], [], [], [], [], [], [],
        )  # fmt: skip


def spans_of(history: History) -> list[Span]:
    """Return all spans of a history; whether derivable attributes are carried or left out is chance, by its seed."""
    rng = random.Random(history.seed + 1)
    found = []
    for job in (each for job in history.jobs for each in (job, job.again) if each):
        if job.enqueued_at is not None:
            found.append(_dispatch(job, rng))
        for run in job.runs:
            found += _spans_of_run(job, run, rng)
    found += [_composite(workflow) for workflow in history.workflows if workflow.composite]
    found += [_stray(stray, rng) for stray in history.strays]
    return found


def _dispatch(job: Job, rng: random.Random) -> Span:
    assert job.enqueued_at is not None
    parent = job.parent_run.span_id if job.parent_run else ""
    return _span(
        "send", job, None, rng, job.dispatch_trace_id, job.dispatch_span_id, parent,
        (job.enqueued_at, job.enqueued_at + rng.randint(0, 5_000_000)), "Error" if job.publish_error else "Unset",
    )  # fmt: skip


def _spans_of_run(job: Job, run: Run, rng: random.Random) -> list[Span]:
    found = []
    parent = job.dispatch_span_id if job.enqueued_at is not None else ""
    for sent, interval in run.beacons:
        assert run.start is not None
        found.append(
            _span(
                "receive", job, run, rng, run.trace_id, f"{rng.getrandbits(64):016x}", run.span_id, (run.start, sent),
                **{"otjobs.beacon.interval_seconds": f"{interval:g}"},
            )
        )  # fmt: skip
    if run.own:
        assert run.end is not None
        late = {
            "otjobs.job.outcome": run.outcome,
            "otjobs.job.dispatched": str(dispatched(run)),
            **_next(run, run.outcome),
        }
        if run.error_type:
            late["error.type"] = run.error_type
        if run.dead_letter:
            late["otjobs.job.dead_letter"] = "true"
        if run.cpu_seconds is not None:
            late["otjobs.job.cpu_seconds"] = str(run.cpu_seconds)
        times = (run.end if run.start is None else run.start, run.end)
        status = "Error" if run.outcome in ("failure", "rejected") else "Unset"
        found.append(_span("process", job, run, rng, run.trace_id, run.span_id, parent, times, status, **late))
    if run.observed:
        late = {
            "otjobs.job.outcome": run.observed.outcome,
            "otjobs.job.observed": "true",
            **_next(run, run.observed.outcome),
        }
        late["error.type"] = run.observed.error_type
        if run.dead_letter:
            late["otjobs.job.dead_letter"] = "true"
        found.append(
            _span(
                "process", job, run, rng, run.observed.trace_id, run.observed.span_id, parent,
                (run.observed.start, run.observed.end), "Error", **late,
            )
        )  # fmt: skip
    return found


def _next(run: Run, outcome: str) -> dict[str, str]:
    """What a run that ended as a retry tells of the one that follows."""
    if outcome != "retry" or run.next_ready_at is None:
        return {}
    return {"otjobs.job.retry_ready_at": str(run.next_ready_at)}


def dispatched(run: Run) -> int:
    """How many jobs a run knows to have dispatched: a publish that raised is none, for all it knows."""
    return sum(not child.publish_error for child in run.children)


def _span(
    operation: str, job: Job, run: Run | None, rng: random.Random, trace_id: str, span_id: str, parent_span_id: str,
    times: tuple[int, int], status: str = "Unset", **late: str,
) -> Span:  # fmt: skip
    service = job.producer if run is None else run.service
    resource = {"host.name": "box-0"} if run is None else {"host.name": run.host}
    if run is not None and run.release:
        resource["service.version"] = run.release
    attributes = {**_attributes(operation, job, run, trace_id, service, rng), **late}
    name = f"{WORDS[operation]} {job.type}"
    return Span(operation, name, trace_id, span_id, parent_span_id, *times, service, resource, attributes, status)


def _attributes(
    operation: str, job: Job, run: Run | None, trace_id: str, service: str, rng: random.Random
) -> dict[str, str]:
    def spelled_out() -> bool:
        """Carry an attribute that could be derived?"""
        return rng.random() < 0.3

    queue = job.queue if run is None else run.queue
    out: dict[str, str | int | None] = {
        "messaging.system": job.system,
        "messaging.operation.type": operation,
        "messaging.operation.name": WORDS[operation],
        "messaging.destination.name": queue,
        "messaging.message.id": job.id,
        "otjobs.job.type": job.type,
        "otjobs.job.enqueued_at": job.enqueued_at,
        "otjobs.job.due_at": job.due_at if run is None else run.due_at,
        "otjobs.job.expires_at": job.expires_at,
        "otjobs.job.max_attempts": job.max_attempts,
        "otjobs.group.id": job.group_id or None,
    }
    if run is not None:
        out["otjobs.job.attempt"] = run.attempt
        out["otjobs.worker"] = run.worker
        out["otjobs.job.received_at"] = run.received_at
        if job.broadcast:
            out["otjobs.job.broadcast"] = "true"
        if run.redelivered:
            out["otjobs.job.redelivered"] = "true"
        if run.published_at != job.enqueued_at or spelled_out():
            out["otjobs.job.published_at"] = run.published_at
        if job.enqueued_at is not None and (job.producer != service or spelled_out()):
            out["otjobs.job.producer"] = job.producer
        if job.enqueued_at is None and run is not job.runs[0]:
            out["otjobs.job.first_started_at"] = job.runs[0].start
    if queue != job.queue:
        out["otjobs.job.queue"] = job.queue
    if trace_id != job.workflow.id or spelled_out():
        out["otjobs.workflow.id"] = job.workflow.id
    if job.parent is not None and job.parent_run is not None:
        out["otjobs.job.parent.id"] = job.parent.id
        out["otjobs.job.parent.type"] = job.parent.type
        out["otjobs.job.parent.attempt"] = job.parent_run.attempt
        out["otjobs.workflow.type"] = job.root.type
        out["otjobs.workflow.started_at"] = job.root.enqueued_at
        if spelled_out():
            out["otjobs.trigger"], out["otjobs.trigger.name"] = "job", job.parent.type
    else:
        out["otjobs.workflow.roots"] = job.workflow.members_say
        if job.trigger:
            out["otjobs.trigger"], out["otjobs.trigger.name"] = job.trigger, job.trigger_name
        if spelled_out():
            out["otjobs.workflow.type"], out["otjobs.workflow.started_at"] = job.type, job.enqueued_at
    for key, value in job.labels.items():
        out[f"otjobs.label.{key}"] = value
    return {key: str(value) for key, value in out.items() if value is not None}


def _composite(workflow: Workflow) -> Span:
    """The span that a composite has of its own: it says at its end how many root jobs were published."""
    assert workflow.composite is not None
    end, span_id = workflow.composite
    start = min((job.enqueued_at or end for job in workflow.jobs if job.parent is None), default=end)
    told = {"otjobs.workflow.roots": str(workflow.roots)}
    return Span("", "dispatch group", workflow.id, span_id, "", start, end, "web", {}, told)


def _stray(stray: Stray, rng: random.Random) -> Span:
    job = stray.failed_publish
    if job is not None:
        job.publish_error = True
        return _dispatch(job, rng)
    end = stray.at + rng.randint(0, 10**9)
    return Span("", "GET /", stray.trace_id, stray.span_id, "", stray.at, end, stray.service, {}, {})
