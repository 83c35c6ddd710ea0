"""Spans of small workflows at a given time, and what the views say of everything stored."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from otjobs.backend.store.landing import COLUMNS
from otjobs.testing import job_span_row

if TYPE_CHECKING:
    from otjobs.testing.rows import Operation

S = 1_000_000_000
VIEWS = {
    "jobs": "SELECT * EXCEPT (labels), toString(labels) FROM jobs",
    "attempts": "SELECT * FROM attempts",
    "workflows": "SELECT * FROM workflows",
    "queue_minutes": "SELECT * EXCEPT (queue_state, run_state, oldest_wait_seconds) FROM queue_minutes",
    "workflow_minutes": "SELECT * FROM workflow_minutes",
    "job_edges": "SELECT * FROM job_edges",
    "job_types": "SELECT * EXCEPT silent_seconds FROM job_types",
}


def midnight(days_ago: int = 0) -> datetime:
    """The beginning of a day, UTC."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return today - timedelta(days=days_ago)


def nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp()) * S


def span(
    operation: Operation, trace: str, job: str, kind: str, start: int, seconds: float = 0.0, **told: Any
) -> tuple[Any, ...]:
    """A span of a job, the same for the same arguments; `told` is for `job_span_row`."""
    identity = f"{hash((operation, trace, job, start)) & (2**64 - 1):016x}"
    row = job_span_row(
        *(operation, start, start + int(seconds * S)),
        trace_id=trace,
        job_id=job,
        job_type=kind,
        queue="q",
        span_id=identity,
        **{"service": "shop", "resource": {"host.name": "h"}, **told},
    )
    return tuple(row.values())


def other_span(trace: str, start: int, seconds: float = 0.0, **attributes: str) -> tuple[Any, ...]:
    """A span that is of no job: of the user's own code, or of a composite."""
    row = dict(zip(COLUMNS, span("process", trace, "", "", start, seconds), strict=True))
    return tuple((row | {"SpanName": "work", "SpanKind": "Internal", "SpanAttributes": attributes}).values())


def workflow(number: int, at: datetime, *, wait: float = 2, **common: Any) -> list[tuple[Any, ...]]:
    """An order that runs 3 s and dispatches a mail, which fails; all spans of both."""
    start, trace = nanoseconds(at), f"{number:032x}"
    order, mail = f"o{number}", f"m{number}"
    later = start + int(wait * S)
    child: dict[str, Any] = {
        "parent_id": order,
        "parent_type": "order",
        "parent_attempt": 1,
        "enqueued_at": later + S,
    }
    return [
        span("send", trace, order, "order", start, enqueued_at=start, **common),
        span(
            "process", trace, order, "order", later, 3, enqueued_at=start, attempt=1, outcome="success", dispatched=1, **common
        ),
        span("send", trace, mail, "mail", later + S, **child, **common),
        span("process", trace, mail, "mail", later + 2 * S, 1, attempt=1, outcome="failure", dispatched=0, **child, **common),
    ]  # fmt: skip


def failure(number: int, at: datetime) -> tuple[Any, ...]:
    """A publication that failed."""
    start = nanoseconds(at)
    return span("send", f"{number:032x}", f"f{number}", "order", start, enqueued_at=start, status="Error")


def figures(store: Any, *names: str) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of the views, in an order of their own."""
    return {name: sorted(store.query(VIEWS[name]).rows, key=repr) for name in names or VIEWS}
