"""Timelines and trees as plain data: which part of a bar is delay, wait or run, and who stands below whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

DELAY: Final = "delay"
WAIT: Final = "wait"
RUN: Final = "run"
FAILED: Final = "failed"
EMPTY: Final = ""
_PAINTED: Final = (DELAY, WAIT, RUN, FAILED)  # the later one wins a cell that several want

Segment = tuple[str, "datetime", "datetime"]


@dataclass(frozen=True, slots=True)
class Scale:
    """The stretch of time that a bar of `width` cells shows."""

    begin: datetime
    end: datetime
    width: int

    def bar(self, segments: Iterable[Segment]) -> list[str]:
        """Return the kind of each cell; a segment that has any length gets at least one."""
        cells = [EMPTY] * self.width
        whole = max((self.end - self.begin).total_seconds(), 1e-9)
        ordered = sorted(segments, key=lambda segment: _PAINTED.index(segment[0]))
        for kind, begin, end in ordered:
            if end < begin or (end == begin and kind in (DELAY, WAIT)):
                continue
            first = int((begin - self.begin).total_seconds() / whole * self.width)
            last = int((end - self.begin).total_seconds() / whole * self.width)
            first = min(max(first, 0), self.width - 1)
            last = min(max(last, first + 1), self.width)
            cells[first:last] = [kind] * (last - first)
        return cells


def attempt_segments(attempt: Mapping[str, Any], now: datetime) -> Iterator[Segment]:
    """Yield delay, wait and run of one row of `attempts`; what still goes on lasts until `now`."""
    published, ready, started, ended = (attempt[f"{name}_at"] for name in ("published", "ready", "started", "ended"))
    yield from _before_start(published, ready, started or ended or now)
    if started is not None:
        bad = attempt["outcome"] not in ("success", "retry", "running", "cancelled")
        yield (FAILED if bad else RUN), started, ended or now


def job_segments(job: Mapping[str, Any], now: datetime) -> Iterator[Segment]:
    """Yield delay, wait and run of one row of `jobs`, for jobs whose attempts are unknown."""
    yield from _before_start(job["enqueued_at"], job["ready_at"], job["started_at"] or job["ended_at"] or now)
    if job["started_at"] is not None:
        bad = job["state"] in ("failed", "lost", "expired", "rejected")
        yield (FAILED if bad else RUN), job["started_at"], job["ended_at"] or now


def _before_start(published: datetime | None, ready: datetime | None, until: datetime) -> Iterator[Segment]:
    if published is not None and ready is not None:
        yield DELAY, published, min(ready, until)
    if ready is not None:
        yield WAIT, ready, until


def scale_of(segments: Iterable[Segment], width: int, *, begin: datetime | None = None) -> Scale | None:
    """Return the scale that shows all segments, None if there are none; it begins no later than `begin`."""
    found = list(segments)
    if not found:
        return None
    first = min(segment[1] for segment in found)
    return Scale(min(first, begin) if begin is not None else first, max(segment[2] for segment in found), width)


@dataclass(frozen=True, slots=True)
class Leaf:
    """A job in its tree: its row, and for each level above whether more follows there (the last one is its own)."""

    row: Mapping[str, Any]
    more: tuple[bool, ...]


def tree(rows: Sequence[Mapping[str, Any]]) -> list[Leaf]:
    """Order the jobs of a workflow as a tree, each below its parent; those without a known parent are on top.

    Args:
        rows: with job_id, job_type, parent_id, parent_type; any order, any depth, even with circles.
    """
    by_id: dict[tuple[str, str], int] = {}
    by_bare_id: dict[str, int] = {}
    for index, row in enumerate(rows):
        by_id.setdefault((row["job_id"], row["job_type"]), index)
        by_bare_id.setdefault(row["job_id"], index)
    below: dict[int, list[int]] = {}
    tops = []
    for index, row in enumerate(rows):
        parent = None
        if row["parent_id"]:
            parent = by_id.get((row["parent_id"], row["parent_type"]), by_bare_id.get(row["parent_id"]))
        if parent is None or parent == index:
            tops.append(index)
        else:
            below.setdefault(parent, []).append(index)
    placed: set[int] = set()
    leaves: list[Leaf] = []

    def place(roots: list[int]) -> None:
        waiting: list[tuple[int, tuple[bool, ...]]] = [
            (index, (number > 0,)) for number, index in enumerate(reversed(roots))
        ]
        while waiting:
            index, more = waiting.pop()
            if index in placed:
                continue
            placed.add(index)
            leaves.append(Leaf(rows[index], more))
            children = below.get(index, [])
            waiting += [(child, (*more, number > 0)) for number, child in enumerate(reversed(children))]

    place(tops)
    for index in range(len(rows)):  # what hangs in a circle has no top
        if index not in placed:
            place([index])
    return leaves
