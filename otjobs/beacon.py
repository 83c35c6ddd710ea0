"""Start and alive beacons of long runs: one thread a process, asleep unless a run lasts.

A beacon is a CLIENT span `start {job type}` under the execute span that is still open, from the attempt's start to the
moment of sending. The thread flushes after sending, so that the last sign of life of a killed process has left it.
"""

from __future__ import annotations

import heapq
import itertools
import os
import threading
import time
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.trace import SpanKind

from otjobs import attributes as a
from otjobs import job as jobs
from otjobs.config import settings
from otjobs.errors import guard

if TYPE_CHECKING:
    from otjobs.spans import Execution

_condition = threading.Condition()
_due: list[tuple[float, int, Execution]] = []
_order = itertools.count()
_thread: threading.Thread | None = None


def watch(execution: Execution) -> None:
    """Send beacons for this attempt once it has lasted longer than the threshold."""
    global _thread  # noqa: PLW0603
    after = settings().beacon_after
    if after <= 0:
        return
    execution.beacons = True
    with _condition:
        was_empty = not _due
        heapq.heappush(_due, (time.monotonic() + after, next(_order), execution))
        if _thread is None:
            _thread = threading.Thread(target=_run, name="otjobs-beacon", daemon=True)
            _thread.start()
        elif was_empty:
            _condition.notify()


def forget(execution: Execution) -> None:
    """Send no more beacons for this attempt; its entry is dropped when it comes up."""
    execution.beacons = False


def send(execution: Execution, interval: float) -> None:
    """Send one beacon; `interval` is the time until the next one in seconds."""
    from otjobs.providers import tracer

    attributes = {
        **execution.attempt_attributes,
        a.OPERATION_TYPE: "receive",
        a.OPERATION_NAME: "start",
        a.BEACON_INTERVAL: interval,
    }
    span = tracer().start_span(
        f"start {execution.job.job_type}",
        context=trace.set_span_in_context(execution.span, execution.context),
        kind=SpanKind.CLIENT,
        attributes=attributes,
        start_time=execution.started_at,
    )
    span.end(max(jobs.now(), execution.started_at))


def _run() -> None:
    while True:
        with _condition:
            while not _due:
                _condition.wait()
            wait = _due[0][0] - time.monotonic()
            if wait > 0:
                _condition.wait(wait)
            ready = []
            now = time.monotonic()
            while _due and _due[0][0] <= now:
                execution = heapq.heappop(_due)[2]
                if execution.beacons:
                    ready.append(execution)
        if not ready:
            continue
        interval = settings().beacon_interval
        for execution in ready:
            with guard("a beacon could not be sent"):
                send(execution, interval)
        with _condition:
            for execution in ready:
                if execution.beacons:
                    heapq.heappush(_due, (time.monotonic() + interval, next(_order), execution))
        with guard("beacons could not be flushed"):
            from otjobs import lifecycle

            lifecycle.flush()
        ready.clear()


def _after_fork() -> None:
    global _thread, _condition  # noqa: PLW0603
    _condition = threading.Condition()
    _due.clear()
    _thread = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
