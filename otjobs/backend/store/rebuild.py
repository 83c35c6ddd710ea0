"""`otjobs rebuild`: derived tables made again from the stored spans, day by day, while ingest and readers go on.

A day's tables are filled in shadows beside the live ones and then take their place (`shadows`). Workflows and minutes
are then marked, so that readers compute them until their rows are stored again. How far it got is remembered
(`rebuild_plan`); every step may be done twice.
"""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final

from otjobs.backend.store import shadows
from otjobs.backend.store.derive import derive, wait_for_inserts
from otjobs.backend.store.lease import lease
from otjobs.backend.store.rebuild_plan import (
    TABLES,
    Count,
    Run,
    save,
    server_time,
    text_of,
    unfinished,
    with_what_is_made_of,
)
from otjobs.backend.store.retention import horizons
from otjobs.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from otjobs.backend.store.client import Store

    Report = Callable[[str, int, int], None]

SLICE_SPANS: Final = 500_000
"""How many spans are derived from at once, at least."""

_REFRESH_SECONDS: Final = 15.0


def abandon(store: Store, *, take_over: bool = False) -> None:
    """Drop what an interrupted rebuild left; days it has done stay done, the others stay as they were.

    Raises:
        StoreError: one is going on; the message says whose.
    """
    with lease(store, take_over=take_over):
        _clean_up(store, unfinished(store))


def rebuild(
    store: Store,
    days: Sequence[date],
    tables: Sequence[str] = TABLES,
    *,
    report: Report = lambda *_: None,
    take_over: bool = False,
) -> list[Count]:
    """Make derived tables again; an interrupted call with the same arguments is gone on with.

    Args:
        store: the database.
        days: of `plan`, one after the other without gaps.
        tables: some of `TABLES`.
        report: called with what is done now, how much of it, and of how much.
        take_over: also if somebody else seems to be at it; that one stops at its next step.

    Raises:
        QueryError: the account lacks a right, or the server refuses a statement.
        StoreError: another one is going on, or took this one over; the message says whose.
    """
    with lease(store, take_over=take_over) as mine:

        def still(what: str, done: int, total: int) -> None:
            report(what, done, total)
            mine.check()

        try:
            return _rebuild(store, days, tables, still, mine.check)
        except QueryError:
            mine.check()  # whoever took it over has dropped the tables
            raise


def _rebuild(
    store: Store, days: Sequence[date], tables: Sequence[str], report: Report, check: Callable[[], None]
) -> list[Count]:
    wanted = with_what_is_made_of(tables)
    run = unfinished(store)
    if run and (run.days, run.tables) != ([str(day) for day in days], wanted):
        _clean_up(store, run)
        run = None
    if run is None:
        run = Run([str(day) for day in days], wanted)
        save(store, run)
    store.run("rebuild", "forget_the_future")
    shadows.make(store, _shadowed(run), run.days)
    wait_for_inserts(store)
    _fill(store, run, report)
    done = {(day, table) for day, table, _, _ in run.counts}
    for table in shadows.DAYLESS:
        if table in run.tables and ("", table) not in done:
            _swap_dayless(store, run, table, check)
    for number, day in enumerate(run.days):
        report(f"day {day}", number, len(run.days))
        if not any(day == place for place, _ in done):
            _swap_day(store, run, day, check)
    report("days", len(run.days), len(run.days))
    _clean_up(store, run)
    return [Count(*row) for row in run.counts]


def _shadowed(run: Run) -> list[str]:
    return [
        table
        for table in (*shadows.DAYS, *shadows.DAYLESS)
        if table in run.tables and (table in shadows.DAYLESS or run.days)
    ]


def _fill(store: Store, run: Run, report: Report) -> None:
    """Fill the shadows from the stored spans, some hours at a time."""
    span_tables = [table for table in ("attempt_states", "dispatch_failures") if table in _shadowed(run)]
    if span_tables:
        begin = datetime.fromisoformat(run.days[0]).replace(tzinfo=UTC) - timedelta(days=1)
        _fill_slices(store, run, "days", span_tables, begin, report)
    for table in span_tables:
        # What other views write there, not from spans as they are but from what was made of them.
        for (view,) in store.query(
            store.sql("rebuild", "other_sources", table=table), {"database": store.database}
        ).rows:
            for share in _foreign_shares(store):
                sources = {table: f"{store.database}.rebuild_{table}", "foreign_spans": share}
                derive(store, view, into=f"rebuild_{table}", sources=sources, where=shadows.of_days(table, run.days))
    whole = [table for table in shadows.DAYLESS if table in run.tables]
    if whole:
        _fill_slices(store, run, "all", whole, datetime(1970, 1, 1, tzinfo=UTC), report)


def _foreign_shares(store: Store) -> list[str]:
    """Return the spans of other instrumentations as so many queries that each fits in memory; traces stay whole."""
    count = int(store.query(store.sql("rebuild", "count_foreign_spans")).rows[0][0])
    shares = 1 + count // SLICE_SPANS
    return [store.part("foreign_share", shares=str(shares), share=str(share)) for share in range(shares)]


def _fill_slices(store: Store, run: Run, name: str, tables: Sequence[str], begin: datetime, report: Report) -> None:
    done = run.filled_through.get(name)
    slices = list(_slices(store, datetime.fromisoformat(done) if done else begin))
    total, so_far = sum(spans for _, _, spans in slices), 0
    for start, end, spans in slices:
        report("spans", so_far, total)
        landing = store.part("landing_slice", start=text_of(start), end=text_of(end))
        for table in tables:
            where = shadows.of_days(table, run.days)
            derive(store, f"{table}_mv", into=f"rebuild_{table}", where=where, landing_filter=landing)
        so_far += spans
        run.filled_through[name] = end.isoformat()
        save(store, run)
    report("spans", total, total)


def _slices(store: Store, begin: datetime) -> Iterator[tuple[datetime, datetime, int]]:
    """Yield (start, end, spans) of successive stretches of whole hours with spans in them."""
    start, spans = None, 0
    for hour, count in store.query(store.sql("rebuild", "slices"), {"from": text_of(begin)}).rows:
        start = start or hour
        spans += count
        end = hour + timedelta(hours=1)
        if spans >= SLICE_SPANS:
            yield start, end, spans
            start, spans = None, 0
    if start is not None:
        yield start, end, spans


def _swap_dayless(store: Store, run: Run, table: str, check: Callable[[], None]) -> None:
    """Swap a table that has no days."""
    before = _count(store, table)
    if table == "service_clock":
        store.run("rebuild", "silent_services")
    shadows.swap(store, table, "tuple()", check)
    run.counts.append(["", table, before, _count(store, table)])
    save(store, run)


def _swap_day(store: Store, run: Run, day: str, check: Callable[[], None]) -> None:
    """Swap one day's partitions, mark what is made of them, and drop the rows that this outdates."""
    tables = [table for table in run.tables if table not in shadows.DAYLESS]
    before = {table: _count(store, table, day) for table in tables}
    if "workflow_marks" in tables:
        shadow = {"attempt_states": f"{store.database}.rebuild_attempt_states"} if "attempt_states" in tables else {}
        derive(store, "workflow_marks_mv", into="rebuild_workflow_marks", sources=shadow, where=f"day = '{day}'")
    for table in ("attempt_states", "workflow_marks"):
        if table in tables:
            shadows.swap(store, table, day, check)
    if "dispatch_failures" in tables:
        store.run("rebuild", "add_failures", day=day)
        store.run("rebuild", "remove_failures", day=day)
    marked = server_time(store)[0]
    # As a number: 25.8 does not understand this view inside a deletion.
    kept = str(int(horizons(store).jobs_kept_from.timestamp()))
    if "workflow_rows" in tables:
        store.run("rebuild", "mark_workflows", day=day)
        store.run("rebuild", "outdated_workflows", day=day, marked=str(marked), kept=kept)
    if "minute_rows" in tables:
        store.run("rebuild", "mark_minutes", day=day)
        derive(store, "minute_marks_mv", where=f"toDate(hour) = '{day}'")
        store.run("rebuild", "outdated_minute_marks", day=day, marked=str(marked))
        store.run("rebuild", "outdated_minutes", day=day, marked=str(marked), kept=kept)
    _store_rows(store, tables, day, marked)
    run.counts += [[day, table, before[table], _count(store, table, day)] for table in tables]
    save(store, run)


def _store_rows(store: Store, tables: list[str], day: str, marked: int) -> None:
    """Have the rows stored that readers compute until then, as long as that gets on; readers are right without them."""
    if "attempt_states" in tables:
        _refresh(store, "one_row_mv")
    for kind in ("workflow", "minute"):
        missing, left = store.sql("rebuild", f"missing_{kind}s"), -1
        while f"{kind}_rows" in tables:
            before, left = left, int(store.query(missing, {"day": day, "marked": marked}).rows[0][0])
            if not left or 0 <= before <= left:
                break
            _refresh(store, f"{kind}_rows_mv")


def _refresh(store: Store, view: str) -> None:
    try:
        store.run("rebuild", "refresh", view=view)
    except QueryError:
        return  # the account may not; it happens by itself
    end = time.monotonic() + _REFRESH_SECONDS
    names = {"database": store.database, "view": view}
    time.sleep(0.25)  # it begins a little later
    while time.monotonic() < end and store.query(store.sql("rebuild", "refreshing"), names).rows[0][0]:
        time.sleep(0.1)


def _clean_up(store: Store, run: Run | None) -> None:
    """Take the shadows away, and say that the rebuild has ended."""
    shadows.drop(store)
    if run:
        run.ended = True
        save(store, run)


def _count(store: Store, table: str, day: str = "") -> int:
    sql = store.sql("rebuild", f"count_{table}")
    return int(store.query(sql, {"day": day} if day else None).rows[0][0])
