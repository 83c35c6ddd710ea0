"""The span of one attempt, where its process runs it and where another process reports it alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.trace import Link, SpanKind

from otjobs import attributes as a
from otjobs.config import settings
from otjobs.span_attributes import attributes_of, set_attributes
from otjobs.span_errors import record_error
from otjobs.texts import bounded
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
    links, trace_id = [], ""
    if dispatch is not None:
        links.append(Link(dispatch))
        trace_id = f"{dispatch.trace_id:032x}"
    if carrier.previous is not None:
        links.append(Link(carrier.previous))
    if job.links:
        links += [Link(target) for target in job.links if target is not None]
    workflow_id, own_trace = job.workflow_id or trace_id, trace_id
    if settings().link_mode:
        own_trace = ""
        if dispatch is not None:
            context = trace.set_span_in_context(trace.INVALID_SPAN, context)
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


def describe_end(
    span: Span,
    outcome: str,
    *,
    error: BaseException | None = None,
    error_type: str,
    expected: bool,
    dead_letter: bool,
    observed: bool,
    dispatched: int | None,
    retry_ready_at: int | None,
    cpu_seconds: float | None = None,
) -> None:
    """Write on an execute span how the attempt ended; what is None is unknown.

    Args:
        span: the attempt's span.
        outcome: how it ended.
        error: the exception behind it.
        error_type: its class, or another reason.
        expected: leave the span status Unset.
        dead_letter: the job is set aside for good.
        observed: another process reports the end than the one that ran it.
        dispatched: how many other jobs the attempt dispatched.
        retry_ready_at: with outcome retry, when the next attempt is ready, unix ns.
        cpu_seconds: the CPU time of the attempt.
    """
    late: dict[str, Any] = {a.OUTCOME: outcome}
    if observed:
        late[a.OBSERVED] = True
    if dispatched is not None:
        late[a.DISPATCHED] = dispatched
    if dead_letter:
        late[a.DEAD_LETTER] = True
    if error_type and outcome != "success":
        late[a.ERROR_TYPE] = bounded(error_type)
    if cpu_seconds is not None:
        late[a.CPU_SECONDS] = cpu_seconds
    if retry_ready_at is not None:
        late[a.RETRY_READY_AT] = retry_ready_at
    set_attributes(span, late)
    if outcome in ("failure", "lost", "rejected") or (outcome == "retry" and error is not None):
        record_error(span, error_type, error, expected=expected or outcome == "retry")
