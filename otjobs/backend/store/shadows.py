"""Shadow tables: the twin of a derived table that is filled beside it, and whose rows then take the live rows' place.

The shadow of TABLE is `rebuild_TABLE`. What ingest writes to the live table meanwhile goes to the shadow, too, by the
view `rebuild_TABLE_mv` (`sql/rebuild/create_shadow_mv.sql`). Every step may be done twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otjobs.backend.store.derive import wait_for_inserts
from otjobs.errors import QueryError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from otjobs.backend.store.client import Store

DAYS: Final = {"attempt_states": "toDate(hour)", "workflow_marks": "day", "dispatch_failures": "toDate(minute)"}
"""The tables that are rebuilt by the day, each with the day of a row."""

DAYLESS: Final = ("otel_traces_trace_id_ts", "service_clock")
"""The tables that have no days and are rebuilt whole."""

_ROUNDS: Final = 8


def make(store: Store, tables: Sequence[str], days: Sequence[str]) -> None:
    """Make the empty shadows of some tables, and what fills them along with the live tables."""
    for table in tables:
        store.run("rebuild", "create_shadow", table=table)
        if table != "workflow_marks":
            store.run("rebuild", "no_window", table=table)
        store.run("rebuild", "create_shadow_mv", table=table, where=of_days(table, days))


def of_days(table: str, days: Sequence[str]) -> str:
    """Return the condition for a table's rows of these days, all of them where it has no days."""
    return f"{DAYS[table]} BETWEEN toDate('{days[0]}') AND toDate('{days[-1]}')" if table in DAYS else "1"


def swap(store: Store, table: str, partition: str, check: Callable[[], None]) -> None:
    """Let the shadow's rows take the place of a partition's.

    The old parts are those there now. Once the inserts that wrote them have ended, the shadow has whatever they hold of
    ingest; then it is added, and they are dropped. Until then readers merge both, which counts nothing twice. A part
    into which old and new were merged meanwhile is old, too, the next time round.

    Args:
        store: the database.
        table: the live table.
        partition: its name, `tuple()` where the table has no days.
        check: raises once somebody else has taken the rebuild over.

    Raises:
        StoreError: merges are faster, again and again.
    """
    names = {"database": store.database, "table": table, "partition": partition}
    written = partition if partition == "tuple()" else f"'{partition}'"
    parts_now = store.sql("rebuild", "parts")
    old = store.query(parts_now, names).rows
    for _ in range(_ROUNDS):
        newest = max((part[2] for part in old), default=-1)
        wait_for_inserts(store)
        check()  # the shadow is another's once that one took over
        store.run("rebuild", "attach", table=table, partition=written)
        while old:
            parts = store.query(parts_now, names).rows
            old = [part for part in parts if part[1] <= newest]
            mixed = [part for part in old if part[2] > newest]
            for part in old:
                if part not in mixed:
                    check()
                    _drop_part(store, table, part[0])
            if len(mixed) == len(old):
                break
        if not old:
            return
    raise StoreError(f"the old rows of {table} are merged with new ones again and again; call this again later")


def _drop_part(store: Store, table: str, part: str) -> None:
    try:
        store.run("rebuild", "drop_part", table=table, part=part)
    except QueryError as error:
        if "NO_SUCH_DATA_PART" not in str(error):  # merged into another since
            raise


def drop(store: Store) -> None:
    """Take all shadows away: first what writes to them, or inserts would fail."""
    for table in (*DAYS, *DAYLESS):
        store.run("rebuild", "drop_shadow_mv", table=table)
    wait_for_inserts(store)
    for table in (*DAYS, *DAYLESS):
        store.run("rebuild", "drop_shadow", table=table)


def leftovers(store: Store) -> list[str]:
    """Return the names of the shadows that are there, and of what fills them."""
    names = [f"rebuild_{table}{end}" for table in (*DAYS, *DAYLESS) for end in ("", "_mv")]
    found = store.query(store.sql("rebuild", "leftovers"), {"database": store.database, "names": names})
    return [row[0] for row in found.rows]
