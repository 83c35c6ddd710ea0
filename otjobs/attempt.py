"""Starts the span of one attempt, where its process runs it and where another process reports it alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.trace import Link, SpanKind

from otjobs.config import settings
from otjobs.span_attributes import attributes_of
from otjobs.tracing import active, start_span

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span

    from otjobs.carrier import Carrier
    from otjobs.job import Job


def start_execute(job: Job, carrier: Carrier, started_at: int) -> tuple[Span, Context, str, dict[str, Any]]:
    """Start the execute span of an attempt; returns it, its parent context, the workflow id and its attributes."""
    context = carrier.context
    dispatch = carrier.dispatch
    if not active():
        return trace.INVALID_SPAN, context, job.workflow_id, {}
    links = [Link(target) for target in (dispatch, carrier.previous, *job.links) if target is not None]
    if settings().link_mode and dispatch is not None:
        context = trace.set_span_in_context(trace.INVALID_SPAN, context)
    trace_id = ""
    if dispatch is not None:
        trace_id = f"{dispatch.trace_id:032x}"
    workflow_id = job.workflow_id or trace_id
    own_trace = "" if settings().link_mode else trace_id
    job.workflow_id = workflow_id
    attributes = attributes_of(job, "process", "execute", own_trace)
    known = dict(attributes)  # the span's own are added to while it lasts
    span = start_span(
        f"execute {job.job_type}",
        context=context,
        kind=SpanKind.CONSUMER,
        attributes=attributes,
        links=links,
        start_time=started_at,
    )
    if not workflow_id:
        own = span.get_span_context()
        workflow_id = job.workflow_id = f"{own.trace_id:032x}" if own.is_valid else ""
    return span, context, workflow_id, known
