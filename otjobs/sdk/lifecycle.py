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
import os
import struct
import time
from typing import TYPE_CHECKING, Any, Final

from otjobs import given, threads
from otjobs.config import settings
from otjobs.faults import guard, warn
from otjobs.sdk import forking, green_grpc
from otjobs.texts import described

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

_log = logging.getLogger("otjobs")

_SDK_DELAY: Final = 5.0
"""The batch delay that OpenTelemetry specifies: where a processor has it, nobody chose another."""
_LONGEST: Final = 1e6
"""Seconds: what a lock can still wait for."""
_JUST: Final = 10.0
"""For this many seconds after a flush that the collector did not take, an end of the process does not try again."""
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


class _Drops:
    """What this process recorded and could not hand over."""

    def __init__(self) -> None:
        self.spans = 0
        self.in_flight = 0
        self.gave_up_at = -math.inf
        """When a flush last ended without success, on the monotonic clock."""

    @property
    def gave_up(self) -> bool:
        return time.monotonic() - self.gave_up_at < _JUST


_drops = _Drops()


def flush(timeout: float | None = None) -> bool:
    """Send every recorded span now and wait for it.

    Args:
        timeout: seconds, `OTEL_PYTHON_OTJOBS_FLUSH_SECONDS` by default.

    Returns:
        False when the collector did not take everything in time; the SDK then goes on trying while the process lives.
    """
    from otjobs import tracing

    force_flush = getattr(tracing.provider(), "force_flush", None)
    if force_flush is None:
        return True
    wanted = given.seconds(timeout, "timeout")
    seconds = settings().flush_seconds if wanted is None else min(wanted, _LONGEST)
    result: list[bool] = []
    dropped = _drops.spans

    # The batch processor ignores its own timeout (opentelemetry-python #4568), so the wait is bounded here.
    def run() -> None:
        with guard("spans could not be flushed"):
            result.append(bool(force_flush(int(seconds * 1000))))

    native = any(threads.is_native(getattr(batch, "_export_lock", None)) for batch in _batches())
    try:
        ended = threads.run(run, seconds, native=native, name="otjobs-flush")
    except RuntimeError:  # the interpreter shuts down and starts no threads any more (Python 3.12); the SDK's still run
        ended = _stop_batches(seconds)
        result.append(ended)
    _drops.gave_up_at = -math.inf if ended else time.monotonic()
    return ended and result == [True] and _drops.spans == dropped


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
        if not _drops.gave_up:
            flush_last()
        waiting = 0
        if _drops.gave_up:
            _stop_batches(0.1)
            _wait_for_stopped_exports(0.4)
            waiting = _drops.in_flight + sum(len(getattr(batch, "_queue", ())) for batch in _batches())
        lost = _drops.spans + waiting
        if lost:
            _log.warning(
                "otjobs: this process ends and %d of its spans are lost: %d dropped before, for which there were "
                "warnings, and %d that the collector did not take within %g s (OTEL_PYTHON_OTJOBS_FLUSH_SECONDS)",
                lost,
                _drops.spans,
                waiting,
                settings().flush_seconds,
            )
            _drops.spans = 0


def _stop_batches(seconds: float) -> bool:
    """Let the SDK's own threads send what is left, for that long altogether; tell whether they have."""
    end = time.monotonic() + seconds
    for batch in _batches():
        with guard("an exporter could not be stopped"):
            batch.shutdown(timeout_millis=max(0, int((end - time.monotonic()) * 1000)))
    return not any(getattr(batch, "_queue", ()) for batch in _batches()) and not _drops.in_flight


def _wait_for_stopped_exports(seconds: float) -> None:
    end = time.monotonic() + seconds
    while _drops.in_flight and time.monotonic() < end:
        time.sleep(0.01)


def prepare(provider: TracerProvider) -> None:
    """Count what the span exporters of this provider have to drop, and send what is left at every kind of exit."""
    for processor in batch_processors(provider):
        with guard("an exporter cannot be watched"):
            _watch(processor)
        with guard("spans leave only at the SDK's own pace"):
            _send_sooner(_batch_of(processor))
    with guard("gRPC exporters may block a green pool"):
        green_grpc.keep_off_the_loop()
    # Behind the provider's own handler in time, hence before it in order.
    atexit.unregister(finish)
    atexit.register(finish)
    forking.prepare(finish)


def batch_processors(provider: object) -> list[Any]:
    """Return the batch span processors of an SDK provider (none for other providers)."""
    multi = getattr(provider, "_active_span_processor", None)
    found = getattr(multi, "_span_processors", ())
    return [p for p in found if type(p).__name__ == "BatchSpanProcessor"]


def _batches() -> list[Any]:
    from otjobs import tracing

    return [_batch_of(processor) for processor in batch_processors(tracing.provider())]


def _batch_of(processor: Any) -> Any:
    return getattr(processor, "_batch_processor", processor)


def send_delay() -> float:
    """Return how many seconds a span may wait in this process before it is sent."""
    return max((float(getattr(batch, "_schedule_delay", _SDK_DELAY)) for batch in _batches()), default=0.0)


def _send_sooner(batch: Any) -> None:
    """Shorten the time that a batch processor lets spans wait; a delay that somebody chose stays.

    The SDK has a setting and a parameter for that, both read before otjobs comes (the launcher starts the SDK first).
    """
    wanted = settings().send_seconds
    delay = getattr(batch, "_schedule_delay", None)
    if delay is None or not wanted:
        if delay is None and wanted:
            warn(
                "spans leave only at the SDK's own pace", "its batch processor has changed; set OTEL_BSP_SCHEDULE_DELAY"
            )
        return
    if (delay == _SDK_DELAY or settings().send_seconds_given) and delay > wanted:
        batch._schedule_delay = wanted  # noqa: SLF001
        # Its thread has begun to wait for as long as before. (Where only we are green, it must not be woken from here.)
        if not (threads.green() and threads.is_native(batch._export_lock)):  # noqa: SLF001
            batch._worker_awaken.set()  # noqa: SLF001


def _watch(processor: Any) -> None:
    batch = _batch_of(processor)
    exporter = getattr(batch, "_exporter", None) or getattr(processor, "span_exporter", None)
    if exporter is not None and not getattr(exporter, "_otjobs_watched", False):
        export = exporter.export

        def counted_export(spans: Any) -> Any:
            _drops.in_flight = len(spans)
            why = "spans were dropped because their exporter failed"
            taken, detail = False, type(exporter).__name__
            try:
                result = export(spans)
                taken = getattr(result, "name", "SUCCESS") != "FAILURE"
                why = "spans were dropped because the collector did not take them"
            except Exception as error:
                detail = f"{detail}: {described(error)}"
                raise
            finally:
                _drops.in_flight = 0
                if not taken:
                    _drops.spans += len(spans)
                    warn(why, detail, count=len(spans))
            return result

        exporter.export = counted_export
        exporter._otjobs_watched = True  # noqa: SLF001
    queue = getattr(batch, "_queue", None)
    limit = getattr(queue, "maxlen", None)
    if queue is None or not limit or getattr(processor, "_otjobs_watched", False):
        return
    on_end = processor.on_end

    def counted_on_end(span: Any) -> None:
        if len(queue) >= limit:
            _drops.spans += 1
            warn(
                "spans were dropped because the span queue is full",
                f"{limit} spans wait; raise OTEL_BSP_MAX_QUEUE_SIZE or look at the collector",
            )
        on_end(span)

    processor.on_end = counted_on_end
    processor._otjobs_watched = True  # noqa: SLF001


def _after_fork() -> None:
    global _drops  # noqa: PLW0603  (a child has dropped nothing yet)
    _drops = _Drops()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
