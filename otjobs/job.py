"""The record that an integration hands to the core: one publication or attempt of a job."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.trace import SpanContext


UNKNOWN: Final = "unknown"
"""The type of a job where nobody can tell it."""


@dataclass(frozen=True, slots=True)
class Parent:
    """The job whose execution dispatched this one, and which attempt of it did."""

    id: str
    type: str
    attempt: int = 1


@dataclass(slots=True, kw_only=True)
class Job:
    """One job as a publication or an attempt sees it; times are unix ns, None and '' mean unknown or not there."""

    system: str
    job_type: str
    job_id: str
    queue: str = ""
    """The queue of this publication or attempt."""
    first_queue: str = ""
    """The queue of the first publication, where it differs."""
    attempt: int = 1
    max_attempts: int | None = None
    enqueued_at: int | None = None
    published_at: int | None = None
    """Publish time of this attempt, where it is not `enqueued_at`."""
    due_at: int | None = None
    expires_at: int | None = None
    received_at: int | None = None
    first_started_at: int | None = None
    """Start of attempt 1, repeated by the retries of a job whose producer is not instrumented."""
    redelivered: bool = False
    broadcast: bool = False
    """The broker hands the message to every worker, and each has a run of it."""
    parent: Parent | None = None
    workflow_id: str = ""
    """32 hex digits, where it is not the trace id of the dispatch."""
    workflow_type: str = ""
    workflow_started_at: int | None = None
    group_id: str = ""
    roots: int | None = None
    producer: str = ""
    trigger: str = ""
    trigger_name: str = ""
    worker: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    links: tuple[SpanContext, ...] = ()
    """The attempts whose results it works on: the headers of a chord's body."""

    def changed(self, **fields: object) -> Job:
        """Return a copy with the given fields replaced."""
        return replace(self, **fields)  # type: ignore[arg-type]
