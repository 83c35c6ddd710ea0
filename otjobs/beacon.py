"""Start and alive beacons of long runs: one thread a process, asleep unless a run lasts.

A beacon is a CLIENT span `start {job type}` under the execute span that is still open, from the attempt's start to the
moment of sending. It leaves the process like every other span, within OTEL_PYTHON_OTJOBS_SEND_SECONDS: the thread never
waits for the collector, since in a green pool it would take the locks of the exporter into the pool's main loop.

The thread starts with the first job and not with the first that lasts: only something that is awake by then could tell,
and in a process whose one thread runs the job that is a thread. Where no thread may stay, beacons are switched off.
"""

from __future__ import annotations

import math
import os
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from opentelemetry import trace
from opentelemetry.trace import SpanKind

from otjobs import attributes as a
from otjobs import clock
from otjobs.config import settings
from otjobs.faults import guard
from otjobs.tracing import start_span

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span

    from otjobs.job import Job


class Running(Protocol):
    """What a beacon tells of an attempt that runs."""

    job: Job
    span: Span
    context: Context
    started_at: int
    attempt_attributes: dict[str, Any]


@dataclass(slots=True)
class _Watched:
    execution: Running
    due: float
    """When the next beacon is to be sent, on the monotonic clock."""


# Every job passes here and nearly none needs a beacon, so a job costs one write and one removal and no lock: single
# dict operations are atomic. The thread looks at what is left when the first of them may be due.
_running: dict[int, _Watched] = {}
_wake = threading.Event()
_wakes_at = math.inf
_came = False
"""True when a job came since the thread last looked."""
_thread: threading.Thread | None = None
_starting = threading.Lock()


def watch(execution: Running) -> None:
    """Send beacons for this attempt once it has lasted longer than the threshold."""
    global _came  # noqa: PLW0603
    after = settings().beacon_after
    if after <= 0:
        return
    _came = True
    due = time.monotonic() + after
    _running[id(execution)] = _Watched(execution, due)
    if _thread is None:
        _start()
    if due < _wakes_at:
        _wake.set()


def forget(execution: Running) -> None:
    """Send no more beacons for this attempt."""
    _running.pop(id(execution), None)


def send(execution: Running, interval: float) -> None:
    """Send one beacon; `interval` is the time until the next one in seconds."""
    attributes = {
        **execution.attempt_attributes,
        a.OPERATION_TYPE: "receive",
        a.OPERATION_NAME: "start",
        a.BEACON_INTERVAL: interval,
    }
    span = start_span(
        f"start {execution.job.job_type}",
        context=trace.set_span_in_context(execution.span, execution.context),
        kind=SpanKind.CLIENT,
        attributes=attributes,
        start_time=execution.started_at,
    )
    span.end(max(clock.now(), execution.started_at))


def _start() -> None:
    global _thread, _wake  # noqa: PLW0603
    with _starting:
        if _thread is None:
            # Made together: gevent may have replaced both kinds since this module was imported.
            _wake = threading.Event()
            _thread = threading.Thread(target=_run, name="otjobs-beacon", daemon=True)
            _thread.start()


def _run() -> None:
    global _wakes_at, _came  # noqa: PLW0603
    while True:
        _wake.clear()
        _wakes_at = math.inf  # whoever comes while this thread looks around sets the event
        _send_due()
        # Where short jobs come and go it looks in again after a while, rather than be woken by each of them.
        empty = time.monotonic() + settings().beacon_after if _came else math.inf
        _came = False
        _wakes_at = next_due = min((watched.due for watched in _running.copy().values()), default=empty)
        _wake.wait(None if next_due == math.inf else max(0.0, next_due - time.monotonic()))


def _send_due() -> None:
    now = time.monotonic()
    due = [(key, watched) for key, watched in _running.copy().items() if watched.due <= now]
    if not due:
        return
    interval = settings().beacon_interval
    for key, watched in due:
        if key in _running:
            with guard("a beacon could not be sent"):
                send(watched.execution, interval)
            watched.due = now + interval


def _after_fork() -> None:
    global _thread, _wake, _wakes_at, _starting
    _wake, _starting, _wakes_at, _thread = threading.Event(), threading.Lock(), math.inf, None
    _running.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
