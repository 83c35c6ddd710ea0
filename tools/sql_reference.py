"""Write docs/reference/sql.md from the schema and the comments in the SQL files: `python tools/sql_reference.py`."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from otjobs.backend.store import connect
from otjobs.backend.store.migrate import migrate
from otjobs.backend.store.sql_files import named_query, query_names, read, unfolded

if TYPE_CHECKING:
    from otjobs.backend.store import Store

FILE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "sql.md"
VIEWS = (
    "jobs",
    "open_jobs",
    "attempts",
    "workflows",
    "queue_minutes",
    "workflow_minutes",
    "job_types",
    "job_edges",
    "pipeline_health",
    "clock_skew",
    "last_arrival",
)
_COLUMN = re.compile(r"^    (\w+),? -- (.+)$", re.MULTILINE)
INTRO = """\
# SQL

The views of the `otjobs` database, column by column, and the queries that come along. Times are `DateTime64(9, 'UTC')`
and end in `_at`, durations are seconds and end in `_seconds`. What does not exist or is unknown is NULL for times and
seconds, '' for text, 0 for counts and flags. `readings.md` says how a figure is read where two readings are possible,
`../howto/questions.md` which query answers which question.

Every figure is exact for the spans that have arrived, whatever their order and however often they were delivered; it is
as late as they are (seconds in service, see `pipeline_health.freshness_seconds`), and changes when more arrive.

Filters that make a query fast: on `jobs` and `attempts` the id of a job or workflow, `enqueued_at`, and beside it
`system`, `queue` and `job_type`; on `workflows` `started_at`, `ended_at` or the id; on the minute views `minute`. Jobs
of producers that are not instrumented have no `enqueued_at`. Who wants them too writes

```sql
WHERE coalesce(enqueued_at, started_at) >= now() - INTERVAL 1 DAY
    AND (enqueued_at >= now() - INTERVAL 1 DAY OR enqueued_at IS NULL)
```

where the second line is what skips the other days. `SELECT *` of a view costs more than the columns that are needed.

This page is written from `otjobs/backend/sql/reference/*.sql`, `otjobs/backend/sql/queries/*.sql` and the schema by
`python tools/sql_reference.py`.
"""


def documented(view: str) -> dict[str, str]:
    """Return the meaning of each column of a view, in order, as its file says."""
    return dict(_COLUMN.findall(unfolded(read("reference", view))))


def types(store: Store, view: str) -> dict[str, str]:
    """Return the type of each column of a view, in order, as the database says."""
    return {row[0]: row[1] for row in store.query(f"DESCRIBE TABLE {view}").rows}


def _view(store: Store, view: str) -> str:
    header = [line[3:] for line in unfolded(read("reference", view)).splitlines() if line.startswith("-- ")]
    meanings = documented(view)
    rows = [
        f"| `{name}` | {_plain(kind)} | {meanings[name]} |"
        for name, kind in types(store, view).items()
        if name in meanings
    ]
    return "\n".join([f"## {view}", "", *header, "", "| column | type | meaning |", "| --- | --- | --- |", *rows, ""])


def _plain(kind: str) -> str:
    """Return a type without its encoding."""
    return re.sub(r"LowCardinality\((\w+)\)", r"\1", kind).replace("|", "\\|")


def _query(name: str) -> str:
    query = named_query(name)
    lines = [f"### {name}", "", query.summary, ""]
    lines += [
        f"- `{key}` {kind}, default `{query.defaults[key] or repr('')}`: {query.meanings[key]}"
        for key, kind in query.types.items()
    ]
    return "\n".join([*lines, ""] if query.types else lines)


def render(store: Store) -> str:
    """Return the page."""
    queries = [
        "## Named queries",
        "",
        "`otjobs sql --named NAME --param KEY=VALUE`. To copy and change one, see `otjobs/backend/sql/queries`.",
        "",
        *(_query(name) for name in query_names()),
    ]
    return "\n".join([INTRO, *(_view(store, view) for view in VIEWS), *queries]).rstrip() + "\n"


def main() -> None:
    """Write the page."""
    with tempfile.TemporaryDirectory() as folder:
        store = connect(f"chdb://{folder}")
        migrate(store)
        FILE.write_text(render(store), encoding="utf-8")
        store.close()


if __name__ == "__main__":
    main()
