"""One job and one workflow as people look at them: facts, timeline, tree."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from otjobs.backend.cli import timeline
from otjobs.backend.cli.format import duration, moment, written
from otjobs.backend.cli.screen import Column

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from otjobs.backend.cli.screen import Screen

Row = dict[str, Any]

_BAR: Final = Column("bar", "TIMELINE", "bar")
_ATTEMPTS: Final = (
    Column("attempt", "ATTEMPT", "count"),
    Column("outcome", "OUTCOME", "state"),
    Column("started_at", "STARTED", "time"),
    Column("queue_seconds", "WAIT", "seconds"),
    Column("run_seconds", "RUN", "seconds"),
    Column("error_type", "ERROR"),
    Column("worker", "WORKER", spare=True),
)
_CHILDREN: Final = (
    Column("job_type", "TYPE"),
    Column("queue", "QUEUE"),
    Column("state", "STATE", "state"),
    Column("attempts", "ATTEMPTS", "count"),
    Column("queue_seconds", "WAIT", "seconds"),
    Column("run_seconds", "RUN", "seconds"),
    Column("error_type", "ERROR"),
    Column("job_id", "ID", "id"),
)
_TREE: Final = (
    Column("leaf", "JOB", "tree"),
    Column("standing", "STATE", "state"),
    Column("attempts", "ATTEMPTS", "count"),
    Column("queue_seconds", "WAIT", "seconds"),
    Column("run_seconds", "RUN", "seconds"),
)


def identity(row: Row) -> tuple[str, str, str]:
    """Return what tells the jobs of one workflow apart."""
    return row["system"], row["queue"], row["job_id"]


def job(screen: Screen, found: Row, attempts: Sequence[Row], children: Sequence[Row], more_children: int = 0) -> None:
    """Draw one job: a row of `jobs`, its rows of `attempts`, its children."""
    screen.line(f"{written(found['job_type'])}  {written(found['job_id'])}", "bold")
    screen.pairs(_job_facts(found))
    now = datetime.now(UTC)
    segments = [segment for attempt in attempts for segment in timeline.attempt_segments(attempt, now)]
    if not attempts:
        segments = list(timeline.job_segments(found, now))
    scale = timeline.scale_of(segments, screen.bar_width(_ATTEMPTS, attempts), begin=found["enqueued_at"])
    if scale is not None:
        whole = duration((scale.end - scale.begin).total_seconds())
        screen.title(f"{'attempts' if attempts else 'no attempt yet'}, {whole} from {moment(scale.begin)}")
        if attempts:
            rows = [{**row, "bar": scale.bar(timeline.attempt_segments(row, now))} for row in attempts]
            screen.table((*_ATTEMPTS, _BAR), rows)
        else:
            screen.table((_BAR,), [{"bar": scale.bar(segments)}])
        screen.line(screen.legend(), "dim")
    if children:
        screen.title("jobs it dispatched")
        screen.table(_CHILDREN, children)
        if more_children > 0:
            screen.line(f"... and {more_children} more; --limit shows more")


def _job_facts(row: Row) -> list[tuple[str, str]]:
    parent = f"{row['parent_type']} {row['parent_id']}" if row["parent_id"] else ""
    trigger = " ".join(part for part in (row["trigger"], row["trigger_name"]) if part)
    labels = " ".join(f"{key}={value}" for key, value in sorted((row.get("labels") or {}).items()))
    letter = " (dead letter: set aside for good)" if row["dead_letter"] else ""
    times = [
        f"{name} {duration(row[key])}"
        for name, key in (("delayed", "delay_seconds"), ("waited", "queue_seconds"), ("ran", "run_seconds"))
        if row[key] is not None
    ]
    return [
        ("state", written(row["state"]) + letter),
        ("error", written(row["error_type"])),
        ("queue", f"{row['queue']} ({row['system']})"),
        ("times", ", ".join(times) + f" in {row['attempts']} attempt{'' if row['attempts'] == 1 else 's'}"),
        ("enqueued", moment(row["enqueued_at"])),
        ("ready", moment(row["ready_at"])),
        ("started", moment(row["started_at"])),
        ("ended", moment(row["ended_at"])),
        ("triggered by", trigger if not row["parent_id"] else ""),
        ("parent", written(parent)),
        ("dispatched", f"{row['dispatched']} jobs" if row["dispatched"] else ""),
        ("producer", written(row["producer"])),
        ("service", written(" ".join(part for part in (row["service"], row["release"]) if part))),
        ("worker", written(row["worker"])),
        ("labels", written(labels)),
        ("trace", written(row["trace_id"])),
        ("workflow", f"otjobs workflow {row['workflow_id']}"),
    ]


def workflow(screen: Screen, found: Row, jobs: Sequence[Row], attempts: Sequence[Row]) -> None:
    """Draw one workflow: a row of `workflows`, and the tree of its jobs on one timeline."""
    screen.line(f"{written(found['workflow_type'])}  {written(found['workflow_id'])}", "bold")
    screen.pairs(_workflow_facts(found))
    now = datetime.now(UTC)
    segments_of = _segments(jobs, attempts, now)
    rows = []
    for leaf in timeline.tree(jobs):
        row = leaf.row
        standing = written(row["state"]) + (f": {written(row['error_type'])}" if row["error_type"] else "")
        rows.append({**row, "leaf": leaf, "standing": standing})
    last = Column("job_id", "ID", "id")
    everything = [segment for row in jobs for segment in segments_of(row)]
    scale = timeline.scale_of(everything, screen.bar_width((*_TREE, last), rows), begin=found["started_at"])
    if scale is not None:
        whole = duration((scale.end - scale.begin).total_seconds())
        screen.title(f"jobs, {whole} from {moment(scale.begin)}")
        drawn = [{**row, "bar": scale.bar(segments_of(row))} for row in rows]
        screen.table((*_TREE, _BAR, last), drawn)
        screen.line(screen.legend(), "dim")
    more = found["jobs"] - len(jobs)
    if more > 0:
        screen.line(f"... and {more} more jobs; --limit {found['jobs']} shows all")


def _workflow_facts(row: Row) -> list[tuple[str, str]]:
    state = "complete" if row["complete"] else f"open: {row['open_jobs']} known jobs have not ended"
    if not row["complete"] and not row["open_jobs"]:
        state = "open: not all of its jobs have been seen yet"
    return [
        ("state", state),
        ("wall time", duration(row["wall_seconds"])),
        ("jobs", f"{row['jobs']}, {row['failed_jobs']} failed, {row['attempts']} attempts"),
        ("in total", f"waited {duration(row['queue_seconds'])}, ran {duration(row['run_seconds'])}"),
        ("started", moment(row["started_at"])),
        ("ended", moment(row["ended_at"])),
        ("triggered by", " ".join(part for part in (row["trigger"], row["trigger_name"]) if part)),
    ]


def _segments(jobs: Sequence[Row], attempts: Sequence[Row], now: datetime) -> Callable[[Row], list[timeline.Segment]]:
    """Return a function that gives the segments of a job: of its attempts where they are known."""
    ordered = sorted(attempts, key=identity)
    known = {key: list(rows) for key, rows in groupby(ordered, key=identity)}
    made: dict[tuple[str, str, str], list[timeline.Segment]] = {}
    for row in jobs:
        own = known.get(identity(row))
        made[identity(row)] = (
            [segment for attempt in own for segment in timeline.attempt_segments(attempt, now)]
            if own
            else list(timeline.job_segments(row, now))
        )
    return lambda row: made[identity(row)]
