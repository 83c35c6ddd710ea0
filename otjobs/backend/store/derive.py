"""What derives from what: the materialized views, and filling their targets again from what is stored."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from otjobs.backend.store.sql_files import literal
from otjobs.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otjobs.backend.store.client import Store

LONGEST_INSERT_SECONDS: Final = 60.0
"""How long an insert may take to be visible everywhere; the views count on it, too."""

_TARGET: Final = re.compile(r" TO `?\w+`?\.`?(\w+)`?")
_DIRECTIVE: Final = re.compile(r"^-- backfill (\w+)(?: with (.+))?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Derivation:
    """A materialized view as the database has it: its query, the table it writes, and the columns it gives."""

    view: str
    target: str
    query: str
    columns: tuple[str, ...]


def derivation(store: Store, view: str) -> Derivation:
    """Look up a materialized view.

    Raises:
        QueryError: there is none of that name.
    """
    rows = store.query(store.sql("derive", "derivation"), {"database": store.database, "view": view}).rows
    if not rows:
        raise QueryError(f"the database {store.database} has no materialized view {view}; otjobs migrate makes it")
    query, definition, columns = rows[0]
    target = _TARGET.search(definition)
    if target is None:
        raise QueryError(f"the materialized view {view} names no table that it writes")
    return Derivation(view, target[1], query, tuple(columns))


def derive(
    store: Store,
    view: str,
    *,
    into: str = "",
    sources: Mapping[str, str] | None = None,
    where: str = "1",
    replace: str = "",
    landing_filter: str = "1",
) -> None:
    """Write what a materialized view makes of its whole source.

    Args:
        store: the database.
        view: the materialized view.
        into: another table than the view's.
        sources: by the name of a table, what to read instead, as SQL.
        where: which of the resulting rows, as SQL over the view's columns.
        replace: expressions for some of the columns, as in `SELECT * REPLACE (...)`.
        landing_filter: which spans, where the view reads the landing table.
    """
    found = derivation(store, view)
    query = found.query
    for name, instead in (sources or {}).items():
        # Escaped: a backslash means something where `re` puts a text in.
        query = re.sub(
            rf"\bFROM {re.escape(f'{store.database}.{name}')}\b", "FROM " + instead.replace("\\", r"\\"), query
        )
    sql = store.sql(
        "derive",
        "derive",
        target=into or found.target,
        columns=", ".join(found.columns),
        replace=f" REPLACE ({replace})" if replace else "",
        where=where,
        landing_filter=literal(landing_filter),
        query=query,
    )
    store.command(sql)


def backfill(store: Store, script: str) -> None:
    """Do what the lines `-- backfill VIEW [with EXPRESSIONS]` of a migration say.

    A view that is new sees only what is inserted from then on. The rest is read from its source, once the inserts have
    ended that began before the view was there; what both write is the same, and counts once.
    """
    directives = _DIRECTIVE.findall(script)
    if not directives:
        return
    wait_for_inserts(store)
    for view, replace in directives:
        derive(store, view, replace=replace)


def wait_for_inserts(store: Store, seconds: float = LONGEST_INSERT_SECONDS) -> None:
    """Return when every insert that runs now has ended, or after so many seconds.

    Where the account may not see what runs, wait all of them, if any span is stored at all.
    """
    began = time.monotonic()
    ask = store.sql("derive", "inserts_running")
    while (passed := time.monotonic() - began) < seconds:
        try:
            if not store.query(ask, {"seconds": passed, "database": store.database}).rows[0][0]:
                return
        except QueryError:
            if not store.query(store.sql("derive", "any_span")).rows:
                return
        time.sleep(0.1)
