"""The span of an attempt that ended elsewhere: this process did not run it, or it never ran."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otjobs import attributes as a
from otjobs import clock
from otjobs.attempt import start_execute
from otjobs.span_attributes import set_attributes
from otjobs.span_errors import error_of, record_error
from otjobs.texts import bounded

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

    from otjobs.carrier import Carrier
    from otjobs.job import Job


def ended_elsewhere(
    job: Job,
    carrier: Carrier,
    outcome: a.Outcome,
    *,
    error: BaseException | None = None,
    error_type: str = "",
    started_at: int | None = None,
    ended_at: int | None = None,
    observed: bool = True,
    dead_letter: bool = False,
    expected: bool = False,
    retry_ready_at: int | None = None,
) -> SpanContext:
    """Write the execute span of an attempt that this process did not run, or that never ran.

    Args:
        job: the job; its attempt number is the attempt's.
        carrier: what the payload carried.
        outcome: how it ended.
        error: the exception behind it, if there is one.
        error_type: the reason, otherwise.
        started_at: unix ns; None for an attempt that never started, whose span then has no length.
        ended_at: unix ns, now by default.
        observed: False when the reporter is the process that ran it.
        dead_letter: the job is set aside for good.
        expected: leave the span status Unset.
        retry_ready_at: with outcome retry, when the next attempt is ready, unix ns; None where nobody knows.

    Returns:
        The span's context.
    """
    end = clock.now() if ended_at is None else ended_at
    start = end if started_at is None else min(started_at, end)
    span, _, _, _ = start_execute(job, carrier, start)
    late: dict[str, Any] = {a.OUTCOME: outcome}
    if observed and started_at is not None:
        late[a.OBSERVED] = True
    if started_at is None:
        late[a.DISPATCHED] = 0
    if dead_letter:
        late[a.DEAD_LETTER] = True
    if outcome == "retry" and retry_ready_at is not None:
        late[a.RETRY_READY_AT] = retry_ready_at
    error, reason = error_of(error)
    error_type = error_type or reason
    if error_type and outcome != "success":
        late[a.ERROR_TYPE] = bounded(error_type)
    set_attributes(span, late)
    if outcome in ("failure", "lost", "rejected"):
        record_error(span, error_type, error, expected=expected)
    span.end(end)
    return span.get_span_context()
