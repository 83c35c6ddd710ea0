"""The row of the landing table that a job's span becomes, for tests of views, queries and panels."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final, Literal

from otjobs import attributes as a

if TYPE_CHECKING:
    from collections.abc import Mapping

Operation = Literal["send", "receive", "process"]

_NAMES: Final = {"send": "dispatch", "receive": "start", "process": "execute"}
_KINDS: Final = {"send": "Producer", "receive": "Client", "process": "Consumer"}


def job_span_row(
    operation: Operation,
    start: int,
    end: int | None = None,
    *,
    trace_id: str,
    job_id: str,
    job_type: str = "job",
    queue: str = "default",
    system: str = "celery",
    span_id: str = "",
    parent_span_id: str = "",
    service: str = "service",
    resource: Mapping[str, str] | None = None,
    status: Literal["Unset", "Ok", "Error"] = "Unset",
    labels: Mapping[str, object] | None = None,
    attributes: Mapping[str, object] | None = None,
    **named: object,
) -> dict[str, Any]:
    """Return the row of a job's span: the 22 columns of the collector's ClickHouse exporter, by name and in order.

    ::

        job_span_row("process", start, end, trace_id="1" * 32, job_id="7", attempt=1, outcome="failure", error_type="E")

    Args:
        operation: send (dispatch), receive (start, a beacon) or process (execute).
        start: unix ns.
        end: unix ns; `start` by default.
        trace_id: 32 hex digits.
        job_id: the job's id.
        job_type: the name of the code that runs.
        queue: the queue of this publication or attempt.
        system: the queue library.
        span_id: 16 hex digits; random ones by default.
        parent_span_id: 16 hex digits, or ''.
        service: the service's name.
        resource: further attributes of the resource, such as `host.name` or `service.version`.
        status: the span's status.
        labels: the job's own labels, without their prefix.
        attributes: further attributes by their names on the wire.
        named: further attributes by their names in `otjobs.attributes`, in small letters: `attempt`, `outcome`,
            `enqueued_at`, `parent_id`, ...; those that are None are left out.

    Raises:
        TypeError: `otjobs.attributes` has no such name.
    """
    told: dict[str, object] = {
        a.SYSTEM: system,
        a.OPERATION_TYPE: operation,
        a.OPERATION_NAME: _NAMES[operation],
        a.QUEUE: queue,
        a.JOB_ID: job_id,
        a.JOB_TYPE: job_type,
    }
    for name, value in named.items():
        key = getattr(a, name.upper(), "")
        if not isinstance(key, str) or key not in a.NAMES:
            raise TypeError(f"job_span_row() got an unexpected keyword argument {name!r}")
        told[key] = value
    told |= {f"{a.LABEL_PREFIX}{name}": value for name, value in (labels or {}).items()}
    told |= attributes or {}
    return {
        "Timestamp": start,
        "TraceId": trace_id,
        "SpanId": span_id or secrets.token_hex(8),
        "ParentSpanId": parent_span_id,
        "TraceState": "",
        "SpanName": f"{_NAMES[operation]} {job_type}",
        "SpanKind": _KINDS[operation],
        "ServiceName": service,
        "ResourceAttributes": {"service.name": service, **(resource or {})},
        "ScopeName": "otjobs",
        "ScopeVersion": "",
        "SpanAttributes": {key: _written(value) for key, value in told.items() if value is not None},
        "Duration": 0 if end is None else (end - start) % 2**64,  # as the exporter writes an end before the start
        "StatusCode": status,
        "StatusMessage": "",
        "Events.Timestamp": [],
        "Events.Name": [],
        "Events.Attributes": [],
        "Links.TraceId": [],
        "Links.SpanId": [],
        "Links.TraceState": [],
        "Links.Attributes": [],
    }


def _written(value: object) -> str:
    """Return an attribute's value as the exporter writes it into its map of texts."""
    return str(value).lower() if isinstance(value, bool) else str(value)
