"""What a rebuild is to do, and how far it got: its days and tables, checked, and remembered in `otjobs_settings`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from otjobs.backend.store.retention import horizons
from otjobs.backend.store.settings import set_setting, settings
from otjobs.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otjobs.backend.store.client import Store

_NAME: Final = "rebuild"
_NEEDS: Final = {
    "attempt_states": ("attempt_states", "workflow_marks", "workflow_rows", "minute_marks", "minute_rows"),
    "workflow_marks": ("workflow_marks", "workflow_rows"),
    "workflow_rows": ("workflow_marks", "workflow_rows"),
    "minute_marks": ("minute_marks", "minute_rows"),
    "minute_rows": ("minute_marks", "minute_rows"),
    "dispatch_failures": ("dispatch_failures", "minute_marks", "minute_rows"),
    "otel_traces_trace_id_ts": ("otel_traces_trace_id_ts",),
    "service_clock": ("service_clock",),
}
TABLES: Final = tuple(_NEEDS)
"""The tables that can be rebuilt; each brings those along that are made of it."""


@dataclass(frozen=True, slots=True)
class Count:
    """The rows of a table before and after, of one day, or all in all where the day is ''."""

    day: str
    table: str
    before: int
    after: int


@dataclass(slots=True)
class Run:
    """How far a rebuild got; the newest one is kept in the database."""

    days: list[str]
    tables: list[str]
    filled_through: dict[str, str] = field(default_factory=dict)
    counts: list[list[Any]] = field(default_factory=list)
    ended: bool = False


def plan(store: Store, first: date | None, last: date | None) -> list[date]:
    """Return the days to rebuild: those asked for, or all that can be and have something in them.

    Raises:
        StoreError: a day asked for is not wholly inside the retention of spans; the message says which.
    """
    today = server_time(store)[1]
    kept = horizons(store)
    # Clocks differ: spans of a day's jobs may begin the evening before.
    earliest = max(kept.spans_kept_from.date() + timedelta(days=1), kept.jobs_kept_from.date())
    found = [row[0] for row in store.query(store.sql("rebuild", "days")).rows]
    can_be = [day for day in found if earliest <= day <= today + timedelta(days=1)]
    if first is None and last is None:
        return can_be
    begin = first or min([earliest if earliest.year > 1970 else min(can_be, default=today), last or today])
    end = last or today
    if end < begin:
        raise StoreError(f"there is no day from {begin} to {end}; give --from a day before --to")
    if begin < earliest:
        refused = _range(begin, min(end, earliest - timedelta(days=1)))
        raise StoreError(
            f"cannot rebuild {refused}: not all spans of these days' jobs are stored any more "
            f"(spans are kept from {kept.spans_kept_from:%Y-%m-%d} on, jobs from {kept.jobs_kept_from:%Y-%m-%d}); "
            f"the first day that can be is {earliest}"
        )
    since = {"from": text_of(datetime.combine(begin, datetime.min.time(), UTC) - timedelta(days=1))}
    if not store.query(store.sql("rebuild", "any_span_since"), since).rows[0][0]:
        raise StoreError(f"cannot rebuild {begin} and later: no span is stored since then, so nothing would be left")
    return [begin + timedelta(days=number) for number in range((end - begin).days + 1)]


def _range(first: date, last: date) -> str:
    return str(first) if first == last else f"{first} to {last}"


def with_what_is_made_of(tables: Sequence[str]) -> list[str]:
    """Return these tables and those that are made of them, in the order of `TABLES`."""
    return [table for table in TABLES if any(table in _NEEDS[name] for name in tables)]


def unfinished(store: Store) -> Run | None:
    """Return the rebuild that was interrupted, if the last one was."""
    text = settings(store).get(_NAME)
    run = Run(**json.loads(text)) if text else None
    return run if run and not run.ended else None


def save(store: Store, run: Run) -> None:
    """Remember how far a rebuild got."""
    set_setting(store, _NAME, json.dumps(asdict(run)))


def server_time(store: Store) -> tuple[int, date]:
    """Return the server's time in unix milliseconds and its day in UTC."""
    milliseconds, day = store.query(store.sql("rebuild", "now")).rows[0]
    return int(milliseconds), day


def text_of(moment: datetime) -> str:
    """Return a time in UTC as SQL reads it, to the second."""
    return f"{moment:%Y-%m-%d %H:%M:%S}"
