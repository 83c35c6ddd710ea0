"""Spans of small workflows at a given time, and what the views say of everything stored."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

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
    operation: str, trace: str, job: str, kind: str, start: int, seconds: float = 0.0, **attributes: Any
) -> tuple[Any, ...]:
    """A span of a job; `labels` are labels, `status` its status, other names are attributes below otjobs.job."""
    labels, status = attributes.pop("labels", {}), attributes.pop("status", "Unset")
    told = {
        "messaging.system": "celery",
        "messaging.operation.type": operation,
        "messaging.destination.name": "q",
        "messaging.message.id": job,
        "otjobs.job.type": kind,
        **{f"otjobs.job.{name.replace('_of_', '.')}": str(value) for name, value in attributes.items()},
        **{f"otjobs.label.{name}": str(value) for name, value in labels.items()},
    }
    identity = f"{hash((operation, trace, job, start)) & (2**64 - 1):016x}"
    moment = datetime.fromtimestamp(start // S, UTC) + timedelta(microseconds=start % S // 1000)
    return (
        *(moment, trace, identity, "", "", operation, "Internal", "shop", {"host.name": "h"}, "otjobs", "", told),
        *(int(seconds * S), status, "", [], [], [], [], [], [], []),
    )


def workflow(number: int, at: datetime, *, wait: float = 2, **common: Any) -> list[tuple[Any, ...]]:
    """An order that runs 3 s and dispatches a mail, which fails; all spans of both."""
    start, trace = nanoseconds(at), f"{number:032x}"
    order, mail = f"o{number}", f"m{number}"
    later = start + int(wait * S)
    child: dict[str, Any] = {
        "parent_of_id": order,
        "parent_of_type": "order",
        "parent_of_attempt": 1,
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
