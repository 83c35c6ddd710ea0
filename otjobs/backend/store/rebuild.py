"""`otjobs rebuild`: derived tables made again from the stored spans, day by day, while ingest and readers go on.

A day's tables are filled beside the live ones and then take their place; what arrives meanwhile goes to both
(`sql/rebuild/create_echo.sql`). Workflows and minutes are then marked, so that readers compute them until
their rows are stored again. How far it got stands in `otjobs_settings`; every step may be done twice.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from otjobs.backend.store.derive import derive, wait_for_inserts
from otjobs.backend.store.lease import lease
from otjobs.backend.store.retention import horizons
from otjobs.backend.store.text import fill, split, statement
from otjobs.errors import QueryError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from otjobs.backend.store.client import Store

    Report = Callable[[str, int, int], None]

SLICE_SPANS: Final = 500_000
"""How many spans are derived from at once, at least."""

_REFRESH_SECONDS: Final = 15.0
_ROUNDS: Final = 8
_NAME: Final = "rebuild"

_DAYS: Final = {"attempt_states": "toDate(hour)", "workflow_marks": "day", "dispatch_failures": "toDate(minute)"}
_WHOLE: Final = ("otel_traces_trace_id_ts", "service_clock")
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
        StoreError: a day asked for is not wholly inside the retention of spans; the message names all such days.
    """
    today = _now(store)[1]
    kept = horizons(store)
    # Clocks differ: spans of a day's jobs may begin the evening before.
    earliest = max(kept.spans_kept_from.date() + timedelta(days=1), kept.jobs_kept_from.date())
    found = [row[0] for row in store.query(_sql(store, "days")).rows]
    can_be = [day for day in found if earliest <= day <= today + timedelta(days=1)]
    if first is None and last is None:
        return can_be
    begin = first or min([earliest if earliest.year > 1970 else min(can_be, default=today), last or today])
    end = last or today
    days = [begin + timedelta(days=number) for number in range((end - begin).days + 1)]
    if not days:
        raise StoreError(f"there is no day from {begin} to {end}; give --from a day before --to")
    refused = [str(day) for day in days if day < earliest]
    if refused:
        raise StoreError(
            f"cannot rebuild {', '.join(refused)}: not all spans of these days' jobs are stored any more "
            f"(spans are kept from {kept.spans_kept_from:%Y-%m-%d} on, jobs from {kept.jobs_kept_from:%Y-%m-%d}); "
            f"the first day that can be is {earliest}"
        )
    since = {"from": _text(datetime.combine(begin, datetime.min.time(), UTC) - timedelta(days=1))}
    if not store.query(_sql(store, "any_span_since"), since).rows[0][0]:
        raise StoreError(f"cannot rebuild {begin} and later: no span is stored since then, so nothing would be left")
    return days


def unfinished(store: Store) -> Run | None:
    """Return the rebuild that was interrupted, if the last one was."""
    rows = store.query(fill(statement("retention", "settings"), database=store.database)).rows
    text = dict(rows).get(_NAME)
    run = Run(**json.loads(text)) if text else None
    return run if run and not run.ended else None


def leftovers(store: Store) -> list[str]:
    """Return the names of tables and views that rebuilds have made for themselves."""
    names = [f"rebuild_{table}{end}" for table in (*_DAYS, *_WHOLE) for end in ("", "_echo")]
    found = store.query(statement("rebuild", "leftovers"), {"database": store.database, "names": names})
    return [row[0] for row in found.rows]


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
    wanted = [table for table in TABLES if any(table in _NEEDS[name] for name in tables)]
    run = unfinished(store)
    if run and (run.days, run.tables) != ([str(day) for day in days], wanted):
        _clean_up(store, run)
        run = None
    if run is None:
        run = Run([str(day) for day in days], wanted)
        _save(store, run)
    for sql in split(_sql(store, "forget_the_future")):
        store.command(sql)
    _copies(store, run)
    wait_for_inserts(store)
    _fill(store, run, report)
    done = {(day, table) for day, table, _, _ in run.counts}
    for table in _WHOLE:
        if table in run.tables and ("", table) not in done:
            _whole(store, run, table, check)
    for number, day in enumerate(run.days):
        report(f"day {day}", number, len(run.days))
        if not any(day == place for place, _ in done):
            _day(store, run, day, check)
    report("days", len(run.days), len(run.days))
    _clean_up(store, run)
    return [Count(*row) for row in run.counts]


def _copies(store: Store, run: Run) -> None:
    """Make the empty copies, and what fills them along with the live tables."""
    for table in _copied(run):
        store.command(_sql(store, "create_shadow", table=table))
        if table != "workflow_marks":
            store.command(_sql(store, "no_window", table=table))
        store.command(_sql(store, "create_echo", table=table, where=_of_days(run, table)))


def _of_days(run: Run, table: str) -> str:
    return f"{_DAYS[table]} BETWEEN toDate('{run.days[0]}') AND toDate('{run.days[-1]}')" if table in _DAYS else "1"


def _copied(run: Run) -> list[str]:
    return [table for table in (*_DAYS, *_WHOLE) if table in run.tables and (table in _WHOLE or run.days)]


def _fill(store: Store, run: Run, report: Report) -> None:
    """Fill the copies from the stored spans, some hours at a time."""
    span_tables = [table for table in ("attempt_states", "dispatch_failures") if table in _copied(run)]
    if span_tables:
        begin = datetime.fromisoformat(run.days[0]).replace(tzinfo=UTC) - timedelta(days=1)
        _pass(store, run, "days", span_tables, begin, report)
    for table in span_tables:
        # What other views write there, not from spans as they are but from what was made of them.
        for (view,) in store.query(_sql(store, "other_sources", table=table), {"database": store.database}).rows:
            for part in _foreign_parts(store):
                sources = {table: f"{store.database}.rebuild_{table}", "foreign_spans": part}
                derive(store, view, into=f"rebuild_{table}", sources=sources, where=_of_days(run, table))
    whole = [table for table in _WHOLE if table in run.tables]
    if whole:
        _pass(store, run, "all", whole, datetime(1970, 1, 1, tzinfo=UTC), report)


def _foreign_parts(store: Store) -> list[str]:
    """Return the spans of other instrumentations as so many queries that each fits in memory; traces stay whole."""
    count = int(store.query(_sql(store, "count_foreign_spans")).rows[0][0])
    parts = 1 + count // SLICE_SPANS
    return [_sql(store, "foreign_part", parts=str(parts), part=str(part)).strip() for part in range(parts)]


def _pass(store: Store, run: Run, name: str, tables: Sequence[str], begin: datetime, report: Report) -> None:
    done = run.filled_through.get(name)
    slices = list(_slices(store, datetime.fromisoformat(done) if done else begin))
    total, so_far = sum(spans for _, _, spans in slices), 0
    for start, end, spans in slices:
        report("spans", so_far, total)
        landing = _sql(store, "slice", start=_text(start), end=_text(end)).strip()
        for table in tables:
            where = _of_days(run, table)
            derive(store, f"{table}_mv", into=f"rebuild_{table}", where=where, landing_filter=landing)
        so_far += spans
        run.filled_through[name] = end.isoformat()
        _save(store, run)
    report("spans", total, total)


def _slices(store: Store, begin: datetime) -> Iterator[tuple[datetime, datetime, int]]:
    """Yield (start, end, spans) of successive stretches of whole hours with spans in them."""
    start, spans = None, 0
    for hour, count in store.query(_sql(store, "slices"), {"from": _text(begin)}).rows:
        start = start or hour
        spans += count
        end = hour + timedelta(hours=1)
        if spans >= SLICE_SPANS:
            yield start, end, spans
            start, spans = None, 0
    if start is not None:
        yield start, end, spans


def _whole(store: Store, run: Run, table: str, check: Callable[[], None]) -> None:
    """Swap a table that has no days."""
    before = _count(store, table)
    if table == "service_clock":
        store.command(_sql(store, "silent_services"))
    _swap(store, table, "tuple()", check)
    run.counts.append(["", table, before, _count(store, table)])
    _save(store, run)


def _swap(store: Store, table: str, partition: str, check: Callable[[], None]) -> None:
    """Let the copy's rows take the place of a partition's.

    The old parts are those there now. Once the inserts that wrote them have ended, the copy has whatever they hold of
    ingest; then it is added, and they are dropped. Until then readers merge both, which counts nothing twice. A part
    into which old and new were merged meanwhile is old, too, the next time round.
    """
    names = {"database": store.database, "table": table, "partition": partition}
    written = partition if partition == "tuple()" else f"'{partition}'"
    old = store.query(statement("rebuild", "parts"), names).rows
    for _ in range(_ROUNDS):
        newest = max((part[2] for part in old), default=-1)
        wait_for_inserts(store)
        check()  # the copy is another's once that one took over
        store.command(_sql(store, "attach", table=table, partition=written))
        while old:
            parts = store.query(statement("rebuild", "parts"), names).rows
            old = [part for part in parts if part[1] <= newest]
            mixed = [part for part in old if part[2] > newest]
            for part in old:
                if part not in mixed:
                    check()
                    _drop(store, table, part[0])
            if len(mixed) == len(old):
                break
        if not old:
            return
    raise StoreError(f"the old rows of {table} are merged with new ones again and again; call this again later")


def _drop(store: Store, table: str, part: str) -> None:
    try:
        store.command(_sql(store, "drop_part", table=table, part=part))
    except QueryError as error:
        if "NO_SUCH_DATA_PART" not in str(error):  # merged into another since
            raise


def _day(store: Store, run: Run, day: str, check: Callable[[], None]) -> None:
    """Swap one day's partitions, mark what is made of them, and drop the rows that this outdates."""
    tables = [table for table in run.tables if table not in _WHOLE]
    before = {table: _count(store, table, day) for table in tables}
    if "workflow_marks" in tables:
        copies = {"attempt_states": f"{store.database}.rebuild_attempt_states"} if "attempt_states" in tables else {}
        derive(store, "workflow_marks_mv", into="rebuild_workflow_marks", sources=copies, where=f"day = '{day}'")
    for table in ("attempt_states", "workflow_marks"):
        if table in tables:
            _swap(store, table, day, check)
    if "dispatch_failures" in tables:
        store.command(_sql(store, "failures_in", day=day))
        store.command(_sql(store, "failures_out", day=day))
    marked = _now(store)[0]
    # As a number: 25.8 does not understand this view inside a deletion.
    kept = str(int(horizons(store).jobs_kept_from.timestamp()))
    if "workflow_rows" in tables:
        store.command(_sql(store, "mark_workflows", day=day))
        store.command(_sql(store, "outdated_workflows", day=day, marked=str(marked), kept=kept))
    if "minute_rows" in tables:
        store.command(_sql(store, "mark_minutes", day=day))
        derive(store, "minute_marks_mv", where=f"toDate(hour) = '{day}'")
        store.command(_sql(store, "outdated_minute_marks", day=day, marked=str(marked)))
        store.command(_sql(store, "outdated_minutes", day=day, marked=str(marked), kept=kept))
    _store_rows(store, tables, day, marked)
    run.counts += [[day, table, before[table], _count(store, table, day)] for table in tables]
    _save(store, run)


def _store_rows(store: Store, tables: list[str], day: str, marked: int) -> None:
    """Have the rows stored that readers compute until then, as long as that gets on; readers are right without them."""
    if "attempt_states" in tables:
        _refresh(store, "one_row_mv")
    for kind in ("workflow", "minute"):
        missing, left = _sql(store, f"missing_{kind}s"), -1
        while f"{kind}_rows" in tables:
            before, left = left, int(store.query(missing, {"day": day, "marked": marked}).rows[0][0])
            if not left or 0 <= before <= left:
                break
            _refresh(store, f"{kind}_rows_mv")


def _refresh(store: Store, view: str) -> None:
    try:
        store.command(_sql(store, "refresh", view=view))
    except QueryError:
        return  # the account may not; it happens by itself
    end = time.monotonic() + _REFRESH_SECONDS
    names = {"database": store.database, "view": view}
    time.sleep(0.25)  # it begins a little later
    while time.monotonic() < end and store.query(statement("rebuild", "refreshing"), names).rows[0][0]:
        time.sleep(0.1)


def _clean_up(store: Store, run: Run | None) -> None:
    """Take the copies away: first what writes to them, or inserts would fail."""
    for table in (*_DAYS, *_WHOLE):
        store.command(_sql(store, "drop_echo", table=table))
    wait_for_inserts(store)
    for table in (*_DAYS, *_WHOLE):
        store.command(_sql(store, "drop_shadow", table=table))
    if run:
        run.ended = True
        _save(store, run)


def _count(store: Store, table: str, day: str = "") -> int:
    sql = _sql(store, f"count_{table}")
    return int(store.query(sql, {"day": day} if day else None).rows[0][0])


def _now(store: Store) -> tuple[int, date]:
    """Return the server's time in unix milliseconds and its day in UTC."""
    milliseconds, _, day = store.query(statement("rebuild", "now")).rows[0]
    return int(milliseconds), day


def _save(store: Store, run: Run) -> None:
    sql = fill(statement("retention", "set"), database=store.database)
    store.command(sql, {"name": _NAME, "value": json.dumps(asdict(run))})


def _sql(store: Store, name: str, **names: str) -> str:
    return fill(statement("rebuild", name), database=store.database, **names)


def _text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"
