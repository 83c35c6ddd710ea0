"""The minute views by brute force: queues, workflows, job types, edges, health and skew, from the same spans.

A minute is the unix time at which it begins. Quantiles are those of the values between which they fall, by linear
interpolation; of no values there is none.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Final

from model_attempt import WENT_WRONG, S, end_of, seconds, total

if TYPE_CHECKING:
    from collections.abc import Iterable

    from model import World
    from model_attempt import Attempt
    from spans_of import Span

MINUTE: Final = 60 * S
Row = dict[str, Any]
QUANTILES: Final = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
COUNTED: Final = {
    "success": "succeeded", "failure": "failed", "retry": "retried", "expired": "expired", "cancelled": "cancelled",
    "rejected": "rejected", "lost": "lost",
}  # fmt: skip


def minute_of(moment: int) -> int:
    return moment // MINUTE * 60


def quantile(values: list[float], level: float) -> float | None:
    if not values:
        return None
    ordered, place = sorted(values), level * (len(values) - 1)
    low = int(place)
    high = min(low + 1, len(values) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def quantiles(name: str, values: Iterable[float | None]) -> Row:
    known = [value for value in values if value is not None]
    return {f"{name}_{label}_seconds": quantile(known, level) for label, level in QUANTILES.items()}


def all_attempts(world: World) -> list[Attempt]:
    """Every known attempt, also those that only wait."""
    return [attempt for job in world.jobs for attempt in job.attempts]


def all_runs(world: World) -> list[Attempt]:
    """The same, but of a message that every worker got, the run of each."""
    return [run for attempt in all_attempts(world) for run in attempt.runs]


def queue_minutes(world: World) -> list[Row]:
    counts: dict[tuple[Any, ...], Counter[str]] = defaultdict(Counter)
    started: dict[tuple[Any, ...], list[Attempt]] = defaultdict(list)
    ended: dict[tuple[Any, ...], list[Attempt]] = defaultdict(list)
    ready: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for job in world.jobs:
        if job.enqueued_at is not None:
            counts[minute_of(job.enqueued_at), job.system, job.queue, job.type]["dispatched"] += 1
    for span in world.spans:
        if span.operation == "send" and span.status == "Error":
            told = span.attributes
            place = (told["messaging.system"], told["messaging.destination.name"], told["otjobs.job.type"])
            counts[minute_of(span.start), *place]["dispatch_failed"] += 1
    for attempt in all_attempts(world):
        place = (attempt.job.system, attempt.job.queue, attempt.job.type)
        for run in attempt.runs:
            if run.started_at is not None:
                counts[minute_of(run.started_at), *place]["started"] += 1
                started[minute_of(run.started_at), *place].append(run)
            if run.ended_at is not None:
                counts[minute_of(run.ended_at), *place][COUNTED[run.outcome]] += 1
                ended[minute_of(run.ended_at), *place].append(run)
        for since, left in waits(attempt):
            for minute in minutes_of_waiting(since, left, world.now):
                ready[minute, *place].append(since)
    rows = []
    for key in counts.keys() | ready.keys():
        minute, waiting = key[0], ready[key]
        end = min((minute + 60) * S, world.now)
        rows.append(
            dict(zip(("minute", "system", "queue", "job_type"), key, strict=True))
            | {name: counts[key][name] for name in ("dispatched", "dispatch_failed", "started", *COUNTED.values())}
            | {"waiting": len(waiting), "oldest_wait_seconds": seconds(min(waiting), end) if waiting else None}
            | quantiles("queue", [a.queue_seconds for a in started[key]])
            | quantiles("run", [a.run_seconds for a in ended[key]])
            | {"queue_seconds": total(a.queue_seconds for a in started[key])}
            | {"run_seconds": total(a.run_seconds for a in ended[key])}
            | {"queue_count": sum(a.queue_seconds is not None for a in started[key])}
            | {"run_count": sum(a.run_seconds is not None for a in ended[key])}
        )
    return rows


def waits(attempt: Attempt) -> Iterable[tuple[int, int | None]]:
    """Since when, and until when, an attempt waited; and the one after it, which has no span before it starts.

    It left with its start, or with its end where it never started. An attempt of which neither was seen had left by the
    time the job was first seen to start with a later one.
    """
    if attempt.ready_at is not None:
        left = attempt.started_at if attempt.started_at is not None else attempt.ended_at
        starts = {a.number: a.started_at for a in attempt.job.attempts if a.started_at is not None}
        if left is None and any(number > attempt.number for number in starts):
            left = min(starts.values())
        yield attempt.ready_at, left
    if attempt.next_ready_at is not None:
        yield attempt.next_ready_at, None


def minutes_of_waiting(since: int, left: int | None, now: int) -> Iterable[int]:
    """The minutes at whose end t somebody waits: since <= t < left."""
    if since > now:
        return ()
    first = minute_of(since - 1)
    last = minute_of(now) if left is None else min(minute_of(left - 1) - 60, minute_of(now))
    return range(first, last + 1, 60)


def workflow_minutes(world: World) -> list[Row]:
    began: Counter[tuple[int, str]] = Counter()
    ended: dict[tuple[int, str], list[Row]] = defaultdict(list)
    for row in world.workflows:
        if row["started_at"] is not None:
            began[minute_of(row["started_at"]), row["workflow_type"]] += 1
        if row["ended_at"] is not None:
            ended[minute_of(row["ended_at"]), row["workflow_type"]].append(row)
    return [
        {
            "minute": key[0],
            "workflow_type": key[1],
            "started": began[key],
            "completed": len(ended[key]),
            "failed": sum(row["failed_jobs"] > 0 for row in ended[key]),
        }
        | quantiles("wall", [row["wall_seconds"] for row in ended[key]])
        for key in began.keys() | set(ended)
    ]


def job_edges(world: World) -> list[Row]:
    edges = Counter(
        (minute_of(j.enqueued_at), j.system, j.parent_attempt[0], *j.trigger, j.type)
        for j in world.jobs
        if j.enqueued_at is not None
    )
    names = ("minute", "system", "parent_type", "trigger", "trigger_name", "job_type")
    return [dict(zip(names, edge, strict=True)) | {"dispatched": count} for edge, count in edges.items()]


def job_types(world: World) -> list[Row]:
    by_type: dict[tuple[str, str], list[Attempt]] = defaultdict(list)
    for attempt in all_runs(world):
        by_type[attempt.job.system, attempt.job.type].append(attempt)
    for span in world.spans:  # a type whose every publish failed is a type too
        if span.operation == "send" and span.status == "Error":
            by_type.setdefault((span.attributes["messaging.system"], span.attributes["otjobs.job.type"]), [])
    rows = []
    for (system, job_type), attempts in by_type.items():
        started = sorted((a for a in attempts if a.started_at is not None), key=lambda a: a.started_at or 0)
        starts = [a.started_at or 0 for a in started][-50:]
        gaps = [(b - a) / S for a, b in zip(starts, starts[1:], strict=False)]
        last_trigger = started[-1].job.trigger if started else ("", "")
        good = [a.ended_at or 0 for a in attempts if a.outcome == "success"]
        bad = [a.ended_at or 0 for a in attempts if a.outcome in WENT_WRONG]
        rows.append(
            {
                "system": system,
                "job_type": job_type,
                "first_started_at": started[0].started_at if started else None,
                "last_started_at": started[-1].started_at if started else None,
                "last_succeeded_at": max(good, default=None),
                "last_failed_at": max(bad, default=None),
                "last_trigger": last_trigger[0],
                "last_trigger_name": last_trigger[1],
                "usual_interval_seconds": quantile(gaps, 0.5),
                "silent_seconds": (world.now - starts[-1]) / S if starts else None,
            }
        )
    return rows


def pipeline_health(world: World) -> list[Row]:
    """Without `duplicates`, which depend on what the landing table took for a repeated batch."""
    stored: dict[int, list[Span]] = defaultdict(list)
    for span in world.spans:
        stored[minute_of(span.start)].append(span)
    missed = Counter(minute_of(a.beacon.end) for a in all_attempts(world) if a.beacon and overdue(a))
    negative = Counter(minute_of(a.started_at or 0) for a in all_runs(world) if skew(a) > 0)
    return [
        {
            "minute": minute,
            "spans": len(stored[minute]),
            "spans_without_job": sum(not span.operation for span in stored[minute]),
            "freshness_seconds": min((world.now - end_of(s)) / S for s in stored[minute]) if stored[minute] else None,
            "beacons_missed": missed[minute],
            "negative_waits": negative[minute],
        }
        for minute in {*stored, *missed, *negative}
    ]


def overdue(attempt: Attempt) -> bool:
    """Whether a whole beacon is missing, without a report of the end, while the service went on."""
    if attempt.report or not attempt.beacon:
        return False
    world, beacon = attempt.job.world, attempt.beacon
    interval = float(beacon.attributes.get("otjobs.beacon.interval_seconds", 30))
    return min(world.now, world.clocks[beacon.service]) >= beacon.end + round(2 * interval * S)


def skew(attempt: Attempt) -> float:
    """By how much the attempt started before it was ready, which only clocks that disagree can give."""
    return seconds(attempt.started_at, attempt.ready_at) or 0


def clock_skew(world: World) -> list[Row]:
    sizes: dict[tuple[Any, ...], list[float]] = defaultdict(list)
    for attempt, run in [(attempt, run) for attempt in all_attempts(world) for run in attempt.runs]:
        if skew(run) > 0:
            producer = max((s.resource.get("host.name", "") for s in attempt.of("send")), default="")
            sizes[minute_of(run.started_at or 0), producer, run.row["host"]].append(skew(run))
    names = ("minute", "producer_host", "host")
    return [
        dict(zip(names, key, strict=True)) | {"negative_waits": len(found), "max_seconds": max(found)}
        for key, found in sizes.items()
    ]


def tables(world: World) -> dict[str, list[Row]]:
    """Return the rows of every minute view."""
    return {
        "queue_minutes": queue_minutes(world),
        "workflow_minutes": workflow_minutes(world),
        "job_edges": job_edges(world),
        "job_types": job_types(world),
        "pipeline_health": pipeline_health(world),
        "clock_skew": clock_skew(world),
    }
