"""Views against the model, row for row and column for column."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from otjobs.backend.store import Store

Row = dict[str, Any]
KEYS = {
    "attempts": ("workflow_id", "system", "queue", "job_id", "attempt", "worker"),
    "jobs": ("workflow_id", "system", "queue", "job_id"),
    "workflows": ("workflow_id",),
    "queue_minutes": ("minute", "system", "queue", "job_type"),
    "workflow_minutes": ("minute", "workflow_type"),
    "job_edges": ("minute", "system", "parent_type", "trigger", "trigger_name", "job_type"),
    "job_types": ("system", "job_type"),
    "pipeline_health": ("minute",),
    "clock_skew": ("minute", "producer_host", "host"),
}

# Measured from the present moment: the views' and the model's differ by what lies between the two.
CLOCKED = {"silent_seconds": 30.0, "freshness_seconds": 600.0}


def read(store: Store, view: str, columns: Sequence[str], *, until: int | None = None) -> list[Row]:
    """Read columns of a view, times as unix ns; of a minute view only the minutes that were over at the time `until`."""
    shown = ", ".join(_shown(column) for column in columns)
    over = f" WHERE minute + 60 <= {until // 10**9}" if until is not None and "minute" in columns else ""
    return store.query(f"SELECT {shown} FROM {view}{over}").dicts()


def _shown(column: str) -> str:
    if column.endswith("_at"):
        return f"toUnixTimestamp64Nano({column}) AS {column}"
    return f"toUnixTimestamp({column}) AS {column}" if column == "minute" else column


def same(expected: Any, got: Any, tolerance: float = 1e-9) -> bool:
    if isinstance(expected, float) or isinstance(got, float):
        # Sums of floats depend on their order.
        return None not in (expected, got) and math.isclose(expected, got, rel_tol=1e-9, abs_tol=tolerance)
    return bool(expected == got)


def differences(view: str, expected: Sequence[Row], got: Sequence[Row]) -> list[str]:
    """Say every difference in words; rows that are missing, too many, or there twice are differences too."""
    keys = KEYS[view]

    def by_key(rows: Sequence[Row]) -> dict[tuple[Any, ...], list[Row]]:
        found: dict[tuple[Any, ...], list[Row]] = {}
        for row in rows:
            found.setdefault(tuple(row[k] for k in keys), []).append(row)
        return found

    wanted, there = by_key(expected), by_key(got)
    found = []
    for key in sorted(wanted.keys() | there.keys(), key=str):
        ours, theirs = wanted.get(key, []), there.get(key, [])
        if len(ours) != 1 or len(theirs) != 1:
            found.append(f"{view} {key}: {len(theirs)} rows where the model has {len(ours)}")
            continue
        found += [
            f"{view} {key}: {name} is {theirs[0][name]!r}, the model has {value!r}"
            for name, value in ours[0].items()
            if not same(value, theirs[0][name], CLOCKED.get(name, 1e-9))
        ]
    return found


def compare(
    store: Store,
    tables: Mapping[str, Sequence[Row]],
    *,
    instead: Mapping[str, str] | None = None,
    until: int | None = None,
) -> list[str]:
    """Return every difference between the views and the model's tables; `instead` names other sources than the views."""
    found = []
    for view, rows in tables.items():
        source = (instead or {}).get(view, view)
        columns = list(rows[0]) if rows else list(KEYS[view])
        wanted = [row for row in rows if until is None or row.get("minute", 0) + 60 <= until // 10**9]
        found += differences(view, wanted, read(store, source, columns, until=until))
    return found
