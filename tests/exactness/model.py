"""The views by brute force: every row of `attempts`, `jobs` and `workflows` from the set of spans that arrived.

Plain Python over plain sets, as the readings say, with no thought of speed: this is what the figures mean. Times are
unix ns, seconds are floats, unknown is None, '' or 0.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spans_of import Span
from model_attempt import FAILED, STATES, Attempt, Row, S, end_of, enqueued, latest, number, seconds, text, total


@dataclass(eq=False)
class Job:
    """All attempts of one job; its identity is (workflow, system, queue, id)."""

    world: World
    workflow_id: str
    system: str
    queue: str
    id: str
    attempts: list[Attempt] = field(default_factory=list)

    @cached_property
    def spans(self) -> list[Span]:
        return [span for attempt in self.attempts for span in attempt.spans]

    @cached_property
    def type(self) -> str:
        return text(self.spans, "otjobs.job.type")

    @property
    def identity(self) -> Row:
        names = ("workflow_id", "system", "queue", "job_type", "job_id")
        return dict(zip(names, (self.workflow_id, self.system, self.queue, self.type, self.id), strict=True))

    @cached_property
    def enqueued_at(self) -> int | None:
        """When it was published first: its message may be published again under the same id."""
        return min((at for span in self.spans if (at := enqueued(span)) is not None), default=None)

    @property
    def keys(self) -> set[tuple[int | None, int]]:
        """What its spans say of when it was published, or began."""
        begun = [number(s, "otjobs.job.first_started_at") or s.start for s in self.spans]
        return {
            (at, 0 if at is not None else begin // (3600 * S))
            for at, begin in zip(map(enqueued, self.spans), begun, strict=True)
        }

    @cached_property
    def parents(self) -> list[tuple[str, str, int]]:
        """The attempts that dispatched it, by what its publications say, the first one's first: (type, id, number)."""
        known = sorted({at for span in self.spans if (at := enqueued(span)) is not None})
        times: list[int | None] = [*known] or [None]
        found = [
            (
                text(spans, "otjobs.job.parent.type"),
                text(spans, "otjobs.job.parent.id"),
                latest(spans, "otjobs.job.parent.attempt") or 1,
            )
            for spans in ([s for s in self.spans if enqueued(s) in (at, None)] for at in times)
        ]
        return list(dict.fromkeys(found))

    @cached_property
    def expires_at(self) -> int | None:
        return latest(self.spans, "otjobs.job.expires_at")

    @cached_property
    def parent_id(self) -> str:
        return self.parents[0][1]

    @cached_property
    def parent_attempt(self) -> tuple[str, str, int]:
        """The attempt that dispatched this job, as far as a child knows it: (type, id, number)."""
        return self.parents[0]

    @cached_property
    def root_at(self) -> int | None:
        return latest(self.spans, "otjobs.workflow.started_at") if self.parent_id else self.enqueued_at

    @cached_property
    def root_type(self) -> str:
        return text(self.spans, "otjobs.workflow.type") if self.parent_id else self.type

    @cached_property
    def trigger(self) -> tuple[str, str]:
        if self.parent_id:
            return "job", self.parent_attempt[0]
        return text(self.spans, "otjobs.trigger"), text(self.spans, "otjobs.trigger.name")

    @cached_property
    def producer(self) -> str:
        if self.enqueued_at is None:
            return ""
        first = [s for s in self.spans if enqueued(s) == self.enqueued_at]
        return max(s.attributes.get("otjobs.job.producer", s.service) for s in first)

    @cached_property
    def started(self) -> list[Attempt]:
        return [a for a in self.attempts if a.started_at is not None]

    @cached_property
    def ready_at(self) -> int | None:
        """When the first publication was ready: attempt 1's, or attempt 2's if that is its redelivery."""
        first = self.attempts[0]
        if first.number == 1:
            return first.ready_at
        if first.number == 2 and first.redelivered and self.enqueued_at is not None:
            return max(self.enqueued_at, first.due_at or 0)
        return None

    @cached_property
    def ended_at(self) -> int | None:
        return None if self.last.outcome == "retry" else self.last.ended_at

    @property
    def last(self) -> Attempt:
        return self.attempts[-1]

    @cached_property
    def state(self) -> str:
        outcome = self.last.outcome
        again = self.last.next_ready_at
        if again is not None:
            return "waiting" if again <= self.world.now else "retrying"
        if outcome:
            return STATES.get(outcome, outcome)
        return "scheduled" if self.ready_at is not None and self.ready_at > self.world.now else "waiting"

    @cached_property
    def queue_seconds(self) -> float | None:
        return self.started[0].queue_seconds if self.started else None

    @cached_property
    def run_seconds(self) -> float | None:
        return total(a.run_seconds for a in self.attempts if a.ended_at is not None)

    @cached_property
    def settled(self) -> set[int]:
        """The attempts that nothing more is expected of: ended, or followed by a redelivery."""
        ended = {a.number for a in self.attempts if a.ended_at is not None}
        return ended | {a.number - 1 for a in self.attempts if a.redelivered}

    @property
    def row(self) -> Row:
        last, told = self.last, [a for a in self.attempts if a.outcome]
        labels = {k[len("otjobs.label.") :]: v for s in self.spans for k, v in s.attributes.items() if "label." in k}
        return {
            **self.identity,
            "trace_id": (told or self.attempts)[-1].trace_id,
            "workflow_type": self.root_type,
            "parent_id": self.parent_id,
            "parent_type": self.parent_attempt[0],
            "trigger": self.trigger[0],
            "trigger_name": self.trigger[1],
            "enqueued_at": self.enqueued_at,
            "ready_at": self.ready_at,
            "started_at": self.started[0].started_at if self.started else None,
            "ended_at": self.ended_at,
            "state": self.state,
            "attempts": len(self.started),
            "delay_seconds": seconds(self.enqueued_at, self.ready_at),
            "queue_seconds": self.queue_seconds,
            "run_seconds": self.run_seconds,
            "error_type": last.row["error_type"],
            "dead_letter": int(last.told("otjobs.job.dead_letter") == "true"),
            "worker": last.row["worker"],
            "service": last.row["service"],
            "release": last.row["release"],
            "producer": self.producer,
            "group_id": text(self.spans, "otjobs.group.id"),
            "dispatched": sum(a.dispatched for a in self.attempts if a.ended_at is not None),
            "labels": labels,
        }


@dataclass(eq=False)
class World:
    """All that a set of spans says, at one moment."""

    now: int
    clocks: dict[str, int] = field(default_factory=dict)
    """The newest stored moment of each service."""
    jobs: list[Job] = field(default_factory=list)
    spans: set[Span] = field(default_factory=set)
    composites: dict[str, int] = field(default_factory=dict)
    """How many roots the spans of a workflow's composites say they published."""

    @property
    def attempts(self) -> list[Attempt]:
        """The attempts that have a row: started or ended."""
        return [a for job in self.jobs for a in job.attempts if a.started_at is not None or a.ended_at is not None]

    def workflow(self, workflow_id: str, jobs: list[Job]) -> Row:
        roots = [job for job in jobs if not job.parent_id]
        complete = is_complete(jobs, self.composites.get(workflow_id))
        by_root = min(jobs, key=lambda j: (j.root_at is None, j.root_at or 0, j.root_type))
        first = min(roots, key=lambda j: (j.enqueued_at is None, j.enqueued_at or 0, j.id), default=None)
        dispatches = [at for job in jobs for at in (job.enqueued_at, job.root_at) if at is not None]
        last_end = max((job.ended_at for job in jobs if job.ended_at is not None), default=None)
        return {
            "workflow_id": workflow_id,
            "trace_id": workflow_id,
            "workflow_type": by_root.root_type,
            "trigger": first.trigger[0] if first else "",
            "trigger_name": first.trigger[1] if first else "",
            "started_at": by_root.root_at,
            "ended_at": last_end if complete else None,
            "complete": int(complete),
            "jobs": len(jobs),
            "open_jobs": sum(job.ended_at is None for job in jobs),
            "failed_jobs": sum(job.state in FAILED for job in jobs),
            "attempts": sum(len(job.started) for job in jobs),
            "wall_seconds": seconds(min(dispatches, default=None), last_end) if complete else None,
            "queue_seconds": total(job.queue_seconds for job in jobs),
            "run_seconds": total(job.run_seconds for job in jobs),
        }

    @property
    def workflows(self) -> list[Row]:
        by_id = defaultdict(list)
        for job in self.jobs:
            by_id[job.workflow_id].append(job)
        return [self.workflow(workflow_id, jobs) for workflow_id, jobs in by_id.items()]

    @property
    def tables(self) -> dict[str, list[Row]]:
        return {
            "attempts": [run.row for attempt in self.attempts for run in attempt.runs],
            "jobs": [job.row for job in self.jobs],
            "workflows": self.workflows,
        }


def overtaken(job: Job) -> bool:
    """Whether a job that waits for an hour saw its queue start others in the last hour, all of them ready later."""
    hour_ago = job.world.now - 3600 * S
    since = job.last.next_ready_at if job.last.outcome == "retry" else job.ready_at
    if job.state != "waiting" or since is None or since > hour_ago:
        return False
    started = [
        attempt.ready_at
        for other in job.world.jobs
        for attempt in other.attempts
        if (other.system, other.queue) == (job.system, job.queue)
        and attempt.ready_at is not None
        and (attempt.started_at or 0) >= hour_ago
    ]
    return bool(started) and min(started) > since


def is_complete(jobs: list[Job], published: int | None) -> bool:
    """Whether the jobs of a workflow are known to be all of it, and ended."""
    if any(job.ended_at is None for job in jobs):
        return False  # (a) a known job is open
    if any(set(range(1, job.last.number)) - job.settled for job in jobs):
        return False  # (b) an attempt below the highest known one is missing
    told: dict[tuple[str, str, int], int] = defaultdict(int)
    seen: dict[tuple[str, str, int], int] = defaultdict(int)
    settled = set()
    for job in jobs:
        settled |= {(job.type, job.id, n) for n in job.settled}
        for attempt in job.attempts:
            told[job.type, job.id, attempt.number] += attempt.dispatched
        for parent in job.parents:
            if parent[1]:
                seen[parent] += 1
    if set(seen) - settled:
        return False  # (a), (b) an attempt is known because a child names it
    # What a composite says when it has published is better known than what its members were told before.
    told_roots = [latest(j.spans, "otjobs.workflow.roots") or 0 for j in jobs] if published is None else [published]
    roots = max(sum(not job.parent_id for job in jobs), *told_roots)
    again = sum(len([parent for parent in job.parents[1:] if parent[1]]) for job in jobs)
    return len(jobs) + again == roots + sum(max(told[key], seen[key]) for key in told.keys() | seen.keys())  # (c)


def recompute(spans: Iterable[Span], now: int) -> World:
    """Return what the spans that arrived say, repeats and order aside."""
    world = World(now, spans={*spans})
    jobs: dict[tuple[str, ...], Job] = {}
    for span in sorted(world.spans, key=lambda s: s.span_id):
        world.clocks[span.service] = max(world.clocks.get(span.service, 0), end_of(span))
        told = span.attributes
        workflow_id = told.get("otjobs.workflow.id", span.trace_id)
        if not span.operation and "otjobs.workflow.roots" in told:
            world.composites[workflow_id] = max(
                world.composites.get(workflow_id, 0), int(told["otjobs.workflow.roots"])
            )
        if not span.operation or (span.operation == "send" and span.status == "Error"):
            continue
        queue = told.get("otjobs.job.queue", told["messaging.destination.name"])
        key = (
            workflow_id,
            told["messaging.system"],
            queue,
            told["messaging.message.id"],
        )
        job = jobs.setdefault(key, Job(world, *key))
        attempt = number(span, "otjobs.job.attempt") or 1
        found = next((a for a in job.attempts if a.number == attempt), None)
        if found is None:
            job.attempts.append(found := Attempt(attempt, job))
        found.spans.append(span)
    for job in jobs.values():
        job.attempts.sort(key=lambda a: a.number)
    world.jobs = list(jobs.values())
    return world
