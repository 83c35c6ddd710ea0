"""Fork, recycle, exit, kill: spans leave soon, nothing recorded is lost, and what had to be dropped is counted.

The SDK's batch processor keeps a span for five seconds, loses its queue when a process leaves through `os._exit`
(recycled pool children), counts nothing that it drops, and waits for a dead collector as long as it likes. `prepare`
watches the exporters of a provider and has them send sooner; a process that ends calls `finish`, which `prepare` also
arranges for at normal exits.
"""

from __future__ import annotations

import atexit
import logging
import math
import mmap
import struct
import time
from typing import TYPE_CHECKING, Final

from opentelemetry import trace

from otjobs import given, threads
from otjobs.config import settings
from otjobs.faults import guard, warn
from otjobs.sdk import child_exits, exporters, forking, green_grpc, losses

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from otjobs.sdk.exporters import Batch
    from otjobs.sdk.patches import Patches

_log = logging.getLogger("otjobs")

_SDK_DELAY: Final = 5.0
"""The batch delay that OpenTelemetry specifies: where a processor has it, nobody chose another."""
_LONGEST: Final = 1e6
"""Seconds: what a lock can still wait for."""
_AWAY: Final = 30.0
"""For this many seconds after a process that ended waited in vain, the ends of its relatives wait only a moment."""
_MOMENT: Final = 0.5
"""Seconds in which a collector that is there again takes what is left."""


class _Family:
    """What this process, its parent and its children know together, in memory that forks share.

    A pool that replaces its children after each job would otherwise wait out the whole bound for each of them.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 8)

    @property
    def waited_in_vain(self) -> bool:
        """Tell whether the end of one of them has just waited for the collector in vain."""
        (at,) = struct.unpack_from("d", self._memory)
        return bool(at) and 0 <= time.monotonic() - at < _AWAY

    def note(self) -> None:
        """Note that the end of one of them waited in vain."""
        struct.pack_into("d", self._memory, 0, time.monotonic())


_family = _Family()


_provider: object = None
"""The provider in use, None for the global one."""


def use(provider: object) -> None:
    """Flush and end this provider from now on, None for the global one."""
    global _provider  # noqa: PLW0603
    _provider = provider


def _in_use() -> object:
    return trace.get_tracer_provider() if _provider is None else _provider


def flush(timeout: float | None = None) -> bool:
    """Send every recorded span now and wait for it.

    Args:
        timeout: seconds, `OTEL_PYTHON_OTJOBS_FLUSH_SECONDS` by default.

    Returns:
        False when the collector did not take everything in time; the SDK then goes on trying while the process lives.
    """
    provider = _in_use()
    force_flush = getattr(provider, "force_flush", None)
    if force_flush is None:
        return True
    wanted = given.seconds(timeout, "timeout")
    seconds = settings().flush_seconds if wanted is None else min(wanted, _LONGEST)
    result: list[bool] = []
    dropped = losses.lost.spans

    # The batch processor ignores its own timeout (opentelemetry-python #4568), so the wait is bounded here.
    def run() -> None:
        with guard("spans could not be flushed"):
            result.append(bool(force_flush(int(seconds * 1000))))

    native = any(batch.native for batch in _batches())
    try:
        ended = threads.run(run, seconds, native=native, name="otjobs-flush")
    except RuntimeError:  # the interpreter shuts down and starts no threads any more (Python 3.12); the SDK's still run
        ended = _stop_batches(seconds)
        result.append(ended)
    losses.lost.gave_up_at = -math.inf if ended else time.monotonic()
    return ended and result == [True] and losses.lost.spans == dropped


def flush_last() -> None:
    """Send what is left in a process that is about to end; briefly where one of its relatives has waited in vain."""
    briefly = _family.waited_in_vain
    seconds = settings().flush_seconds
    if not flush(min(seconds, _MOMENT) if briefly else seconds) and not briefly:
        _family.note()


def finish() -> None:
    """Send the last spans of a process that ends, within the flush bound; log how many it could not hand over.

    Where the collector takes nothing in time, the exporters are stopped, so that the SDK's own shutdown, which has no
    such bound, returns at once.
    """
    with guard("the last spans could not be sent"):
        # A flush that has just failed at the worker's shutdown is not waited for a second time.
        if not losses.lost.gave_up:
            flush_last()
        waiting = 0
        if losses.lost.gave_up:
            _stop_batches(0.1)
            _wait_for_stopped_exports(0.4)
            waiting = losses.lost.in_flight + sum(len(batch.queue) for batch in _batches())
        lost = losses.lost.spans + waiting
        if lost:
            _log.warning(
                "otjobs: this process ends and %d of its spans are lost: %d dropped before, for which there were "
                "warnings, and %d that the collector did not take within %g s (OTEL_PYTHON_OTJOBS_FLUSH_SECONDS)",
                lost,
                losses.lost.spans,
                waiting,
                settings().flush_seconds,
            )
            losses.lost.spans = 0


def _stop_batches(seconds: float) -> bool:
    """Let the SDK's own threads send what is left, for that long altogether; tell whether they have."""
    end = time.monotonic() + seconds
    for batch in _batches():
        with guard("an exporter could not be stopped"):
            batch.stop(end - time.monotonic())
    return not any(batch.queue for batch in _batches()) and not losses.lost.in_flight


def _wait_for_stopped_exports(seconds: float) -> None:
    end = time.monotonic() + seconds
    while losses.lost.in_flight and time.monotonic() < end:
        time.sleep(0.01)


def prepare(provider: TracerProvider, patches: Patches) -> None:
    """Count what the span exporters of this provider have to drop, and send what is left at every kind of exit."""
    if exporters.hides(provider):
        warn("spans leave only at the SDK's own pace", "its provider has changed; set OTEL_BSP_SCHEDULE_DELAY")
    for batch in exporters.batches(provider):
        with guard("an exporter cannot be watched"):
            losses.watch(batch, patches)
        with guard("spans leave only at the SDK's own pace"):
            _send_sooner(batch, patches)
    with guard("gRPC exporters may block a green pool"):
        green_grpc.keep_off_the_loop(provider, patches)
    # Behind the provider's own handler in time, hence before it in order.
    atexit.unregister(finish)
    atexit.register(finish)
    forking.prepare(provider, patches)
    child_exits.prepare(finish)


def forget() -> None:
    """Take back what `prepare` arranged for the ends of this process and its children."""
    atexit.unregister(finish)
    child_exits.forget()


def _batches() -> list[Batch]:
    return exporters.batches(_in_use())


def send_delay() -> float:
    """Return how many seconds a span may wait in this process before it is sent."""
    return max((_SDK_DELAY if batch.delay is None else batch.delay for batch in _batches()), default=0.0)


def _send_sooner(batch: Batch, patches: Patches) -> None:
    """Shorten the time that a batch processor lets spans wait; a delay that somebody chose stays.

    The SDK has a setting and a parameter for that, both read before otjobs comes (the launcher starts the SDK first).
    """
    wanted = settings().send_seconds
    delay = batch.delay
    if delay is None or not wanted:
        if delay is None and wanted:
            warn(
                "spans leave only at the SDK's own pace", "its batch processor has changed; set OTEL_BSP_SCHEDULE_DELAY"
            )
        return
    if (delay == _SDK_DELAY or settings().send_seconds_given) and delay > wanted:
        batch.set_delay(wanted, patches)
        if not (threads.green() and batch.native):  # where only we are green, it must not be woken from here
            batch.wake()
