"""What a dispatched job has from its surroundings: parent job, composite, labels, trigger."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import baggage, trace
from opentelemetry import context as otel_context

from otjobs import origin
from otjobs.carrier import clean_labels
from otjobs.config import settings
from otjobs.job import Job, Parent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.context import Context

    from otjobs.spans import Execution

_EXECUTION: Final = otel_context.create_key("otjobs-execution")
_LABELS: Final = otel_context.create_key("otjobs-labels")
_COMPOSITE: Final = otel_context.create_key("otjobs-composite")


def with_execution(context: Context, execution: Execution | None) -> Context:
    """Return the context in which this attempt runs."""
    return otel_context.set_value(_EXECUTION, execution, context)


def with_composite(context: Context, group_id: str, roots: int | None) -> Context:
    """Return the context in which the members of a composite are dispatched."""
    return otel_context.set_value(_COMPOSITE, (group_id, roots), context)


def composite_in(context: Context) -> tuple[str, int | None] | None:
    """Return (group id, roots) of the composite that is dispatched in this context."""
    value: Any = otel_context.get_value(_COMPOSITE, context)
    return value  # type: ignore[no-any-return]


@contextmanager
def labels(**values: object) -> Iterator[None]:
    """Give labels (`otjobs.label.*`) to every job dispatched inside the block; child jobs inherit them."""
    context = otel_context.get_current()
    merged = {**_labels_in(context), **clean_labels(values)}
    token = otel_context.attach(otel_context.set_value(_LABELS, merged, context))
    try:
        yield
    finally:
        otel_context.detach(token)


def execution_in(context: Context) -> Execution | None:
    """Return the attempt that runs in this context."""
    value: Any = otel_context.get_value(_EXECUTION, context)
    return value  # type: ignore[no-any-return]


def _labels_in(context: Context) -> dict[str, str]:
    value = otel_context.get_value(_LABELS, context)
    return value if isinstance(value, dict) else {}


def trace_of(context: Context) -> str:
    """Return the trace id of the current span of a context, 32 hex digits or ''."""
    own = trace.get_current_span(context).get_span_context()
    return f"{own.trace_id:032x}" if own.is_valid else ""


def inherit(job: Job, execution: Execution | None, context: Context) -> None:
    """Fill in what a published job has from the job or composite that dispatches it."""
    found: dict[str, str] = {}
    if execution is not None:
        parent = execution.job
        job.parent = Parent(parent.job_id, parent.job_type, parent.attempt)
        job.workflow_id = execution.workflow_id
        job.workflow_type = parent.workflow_type or parent.job_type
        job.workflow_started_at = parent.workflow_started_at or parent.enqueued_at
        found.update(parent.labels)
    elif not job.trigger:
        job.trigger, job.trigger_name = origin.find_trigger(context)
    group = composite_in(context)
    if group is not None:
        job.group_id = job.group_id or group[0]
        if execution is None and job.roots is None:
            job.roots = group[1]
    keys = settings().baggage_labels
    if keys:
        carried = baggage.get_all(context)
        found.update(clean_labels({key: carried[key] for key in keys if key in carried}))
    found.update(_labels_in(context))
    found.update(job.labels)
    if found:
        job.labels = found
