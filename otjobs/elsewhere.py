"""The span of an attempt that ended elsewhere: this process did not run it, or it never ran."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otjobs import clock
from otjobs.attempt import describe_end, start_execute

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

    from otjobs.attributes import Outcome
    from otjobs.carrier import Carrier
    from otjobs.job import Job


def ended_elsewhere(
    job: Job,
    carrier: Carrier,
    outcome: Outcome,
    *,
    error_type: str = "",
    started_at: int | None = None,
    ended_at: int | None = None,
    dead_letter: bool = False,
    expected: bool = False,
    retry_ready_at: int | None = None,
) -> SpanContext:
    """Write the execute span of an attempt that this process did not run, or that never ran.

    Args:
        job: the job; its attempt number is the attempt's.
        carrier: what the payload carried.
        outcome: how it ended.
        error_type: the reason.
        started_at: unix ns; None for an attempt that never started, whose span then has no length.
        ended_at: unix ns, now by default.
        dead_letter: the job is set aside for good.
        expected: leave the span status Unset.
        retry_ready_at: with outcome retry, when the next attempt is ready, unix ns; None where nobody knows.

    Returns:
        The span's context.
    """
    end = clock.now() if ended_at is None else ended_at
    start = end if started_at is None else min(started_at, end)
    span, _, _, _ = start_execute(job, carrier, start)
    describe_end(
        span,
        outcome,
        error_type=error_type,
        expected=expected,
        dead_letter=dead_letter,
        observed=started_at is not None,
        dispatched=0 if started_at is None else None,
        retry_ready_at=retry_ready_at if outcome == "retry" else None,
    )
    span.end(end)
    return span.get_span_context()
