"""What a history must give once everything has arrived, from what happened alone: no span, no count, no view.

Fewer columns than the model has, and none of its ways: this is what keeps the model honest.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from history import History, Job, Run, Workflow
    from model import World

S: Final = 1_000_000_000
Row = dict[str, Any]
STATES: Final = {"success": "succeeded", "failure": "failed", "retry": "retrying"}
Clocks = dict[str, int]


class Known:
    """What can be known of the runs that share an attempt number, once all has arrived."""

    def __init__(self, job: Job, runs: list[Run], clock: Clocks) -> None:
        self.number = runs[0].attempt
        self.redelivered = runs[0].redelivered
        own = [run for run in runs if run.own]
        watched = [run for run in runs if run.observed]
        telling = [run for run in runs if run.start is not None and (run.own or run.beacons)]
        starts = [run.start for run in telling] or [run.observed.start for run in watched if run.observed]
        self.start = min((start for start in starts if start is not None), default=None)
        self.end: int | None = None
        self.outcome = "" if self.start is None else "running"
        if own:
            last = max(own, key=lambda run: max(run.end or 0, run.start or 0))
            self.end, self.outcome = max(last.end or 0, last.start or 0), last.outcome
        elif watched:
            ends = [run.observed for run in watched if run.observed]
            seen = max(ends, key=lambda observed: observed.end)
            self.end, self.outcome = seen.end, seen.outcome
        elif telling:
            run = max(telling, key=lambda run: run.beacons[-1])
            sent, interval = run.beacons[-1]
            followed = any(r.attempt > self.number and r.start is not None and r.seen for r in job.runs)
            if followed or clock[run.service] > sent + 3 * interval * S:
                self.end, self.outcome = sent, "lost"
        published, due = runs[0].published_at, max((run.due_at or 0 for run in runs), default=0)
        if job.again and self.number == 1 and not self.redelivered:
            published, due = job.enqueued_at, job.due_at or 0  # its first publication
        ready = None if published is None else max(published, due)
        self.next_ready = max((run.next_ready_at or 0 for run in runs), default=0) if self.outcome == "retry" else 0
        self.wait = None if ready is None or self.start is None else max(0, self.start - ready) / S
        self.length = None if self.start is None or self.end is None else max(0, self.end - self.start) / S


def known(job: Job, clock: Clocks) -> list[Known]:
    all_runs = [*job.runs, *(job.again.runs if job.again else [])]
    runs = sorted((run for run in all_runs if run.seen), key=lambda run: run.attempt)
    return [Known(job, list(group), clock) for _, group in groupby(runs, key=lambda run: run.attempt)]


def job_row(job: Job, now: int, clock: Clocks) -> Row:
    attempts = known(job, clock)
    started = [a for a in attempts if a.start is not None]
    lengths = [a.length for a in attempts if a.length is not None]
    ready = None if job.enqueued_at is None else max(job.enqueued_at, job.due_at or 0)
    first = attempts[0] if attempts else None
    if job.publish_error and first and first.number - first.redelivered > 1:
        ready = None  # neither its dispatch nor anything that carries its message's times was seen
    state, ended = "waiting", None
    if attempts:
        last = attempts[-1]
        state = STATES.get(last.outcome, last.outcome)
        if last.next_ready:
            state = "waiting" if last.next_ready <= now else "retrying"
        ended = None if last.outcome in ("retry", "running") else last.end
    elif job.expires_at is not None and job.expires_at < now:
        state, ended = "expired", job.expires_at
    elif ready is not None and ready > now:
        state = "scheduled"
    return {
        "workflow_id": job.workflow.id,
        "system": job.system,
        "queue": job.queue,
        "job_type": job.type,
        "job_id": job.id,
        "enqueued_at": job.enqueued_at,
        "started_at": started[0].start if started else None,
        "ended_at": ended,
        "state": state,
        "attempts": len(started),
        "delay_seconds": None if ready is None or job.enqueued_at is None else (ready - job.enqueued_at) / S,
        "queue_seconds": started[0].wait if started else None,
        "run_seconds": sum(lengths) if lengths else None,
        "producer": job.producer,
        "labels": job.labels,
        "workflow_type": job.root.type,
        "parent_id": job.parent.id if job.parent else "",
    }


def has_trace(job: Job) -> bool:
    """Whether any span tells of the job at all."""
    return any(run.seen for run in job.runs) or (job.enqueued_at is not None and not job.publish_error)


def workflow_row(workflow: Workflow, now: int, clock: Clocks) -> Row:
    seen = [job for job in workflow.jobs if has_trace(job)]
    rows = [job_row(job, now, clock) for job in seen]
    ended = [row["ended_at"] for row in rows]
    complete = None not in ended and not any(waits_for_a_report(job, clock) for job in seen)
    # A parent of which nothing was seen is known from its children, and that it ended is not.
    complete = complete and all(job.parent is None or has_trace(job.parent) for job in seen)
    starts = [row["enqueued_at"] for row in rows if row["enqueued_at"] is not None]
    last = max((end for end in ended if end is not None), default=None)
    return {
        "workflow_id": workflow.id,
        "complete": int(complete),
        "jobs": len(rows),
        "open_jobs": ended.count(None),
        "failed_jobs": sum(row["state"] in ("failed", "lost", "expired", "rejected") for row in rows),
        "ended_at": last if complete else None,
        "wall_seconds": max(0, last - min(starts)) / S if complete and starts and last is not None else None,
    }


def waits_for_a_report(job: Job, clock: Clocks) -> bool:
    """Whether an earlier attempt ran unseen, so that it may have dispatched anything; not if a redelivery followed."""
    found = {a.number: a for a in known(job, clock)}
    numbers = range(1, max(found, default=1))
    ended = {n for n, a in found.items() if a.end is not None}
    return any(n not in ended and not (n + 1 in found and found[n + 1].redelivered) for n in numbers)


def job_rows(history: History, now: int, clock: Clocks) -> list[Row]:
    return [job_row(job, now, clock) for job in history.jobs if has_trace(job)]


def workflow_rows(history: History, now: int, clock: Clocks) -> list[Row]:
    return [workflow_row(w, now, clock) for w in history.workflows if any(map(has_trace, w.jobs))]


# Completion while spans are still on their way ----------------------------------------------------------------------
def undecidable(workflow: Workflow, seen: World, whole: World) -> str:
    """Return why nobody could know, from the spans that `seen` is made of, that there is more to come; '' if one could."""
    arrived = {span.span_id for span in seen.spans}
    ids = {(job.system, job.queue, job.id) for job in seen.jobs if job.workflow_id == workflow.id}
    unseen = [job for job in workflow.jobs if (job.system, job.queue, job.id) not in ids]
    counted = workflow.composite and workflow.composite[1] in arrived
    if workflow.members_say is None and not counted and any(job.parent is None for job in unseen):
        return "a further root dispatched separately"
    for job in unseen:
        run = job.parent_run
        if run is None or job.parent is None:
            continue
        if any(child.publish_error for child in run.children):
            return "a child whose publish seemed to have failed, or that such a one stands in for"
        if sum(other.attempt == run.attempt for other in job.parent.runs) > 1:
            return "a child of one of several deliveries with the same number"
        after = [r for r in job.parent.runs if r.attempt == run.attempt + 1 and r.redelivered]
        if not run.own or (run.span_id not in arrived and (after or run.observed)):
            return "a child of an attempt that was, or looks, killed before it could report"
    for job in workflow.jobs:
        if job.again and job.again.runs[0].span_id not in arrived:
            return "another run of a job that was published twice"
        for run in job.runs:
            if run.own and run.observed and run.observed.span_id in arrived and run.span_id not in arrived:
                return "reported by another process until its own report comes"
        for run, following in zip(job.runs, job.runs[1:], strict=False):
            reported = run.own or run.observed is not None
            outcome = run.outcome if run.own else run.observed.outcome if run.observed else ""
            if reported and outcome != "retry" and following.span_id not in arrived:
                return "a redelivery of what had ended"
    finals = {(j.workflow_id, j.system, j.queue, j.id): j for j in whole.jobs}
    for found in seen.jobs:
        if found.workflow_id != workflow.id or not any(a.silent or a.expired_unseen for a in found.attempts):
            continue
        final = finals[found.workflow_id, found.system, found.queue, found.id]
        if (found.ended_at, found.state) != (final.ended_at, final.state):
            return "lost or expired by the clock until the late span comes"
        numbers = {a.number: a for a in final.attempts}
        if any(a.silent and not numbers[a.number].silent for a in found.attempts):
            return "lost by the clock until the late span comes"
    return ""
