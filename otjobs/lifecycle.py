"""Fork, recycle, exit: nothing recorded is lost, and what had to be dropped is counted.

The SDK's batch processor loses its queue when a process leaves through `os._exit` (recycled pool children), counts
nothing that it drops, and waits for a dead collector as long as it likes. `prepare` watches the exporters of a
provider; a process that ends calls `finish`, which `prepare` also arranges for at normal exits.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Any

from otjobs import forking
from otjobs.config import settings
from otjobs.errors import guard, warn

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

_log = logging.getLogger("otjobs")


class _Drops:
    """What this process recorded and could not hand over."""

    def __init__(self) -> None:
        self.spans = 0
        self.in_flight = 0
        self.gave_up = False


_drops = _Drops()


def flush(timeout: float | None = None) -> bool:
    """Send every recorded span now and wait for it.

    Args:
        timeout: seconds, `OTEL_PYTHON_OTJOBS_FLUSH_SECONDS` by default.

    Returns:
        False when the collector did not take everything in time; the SDK then goes on trying while the process lives.
    """
    from otjobs import providers

    force_flush = getattr(providers.provider(), "force_flush", None)
    if force_flush is None:
        return True
    seconds = settings().flush_seconds if timeout is None else timeout
    done = threading.Event()
    result: list[bool] = []
    dropped = _drops.spans

    # The batch processor ignores its own timeout (opentelemetry-python #4568), so the wait is bounded here.
    def run() -> None:
        with guard("spans could not be flushed"):
            result.append(bool(force_flush(int(seconds * 1000))))
        done.set()

    thread = threading.Thread(target=run, name="otjobs-flush", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # interpreter shutdown: no new threads
        run()
    if not done.wait(seconds):
        _drops.gave_up = True
        return False
    _drops.gave_up = False
    return bool(result and result[0]) and _drops.spans == dropped


def finish() -> None:
    """Send the last spans of a process that ends, within the flush bound; log how many it could not hand over.

    Where the collector takes nothing in time, the exporters are stopped, so that the SDK's own shutdown, which has no
    such bound, returns at once.
    """
    with guard("the last spans could not be sent"):
        from otjobs import providers

        # A flush that has just failed at the worker's shutdown is not waited for a second time.
        if not _drops.gave_up:
            flush()
        waiting = 0
        if _drops.gave_up:
            processors = [_batch_of(p) for p in batch_processors(providers.provider())]
            for batch in processors:
                with guard("an exporter could not be stopped"):
                    batch.shutdown(timeout_millis=100)
            _wait_for_stopped_exports(0.4)
            waiting = _drops.in_flight + sum(len(getattr(batch, "_queue", ())) for batch in processors)
        lost = _drops.spans + waiting
        if lost:
            _log.warning(
                "otjobs: this process ends and %d of its spans are lost: the collector did not take them (the "
                "last ones wait %g s at most, OTEL_PYTHON_OTJOBS_FLUSH_SECONDS)",
                lost,
                settings().flush_seconds,
            )
            _drops.spans = 0


def _wait_for_stopped_exports(seconds: float) -> None:
    end = time.monotonic() + seconds
    while _drops.in_flight and time.monotonic() < end:
        time.sleep(0.01)


def prepare(provider: TracerProvider) -> None:
    """Count what the span exporters of this provider have to drop, and send what is left at every kind of exit."""
    for processor in batch_processors(provider):
        with guard("an exporter cannot be watched"):
            _watch(processor)
    # Behind the provider's own handler in time, hence before it in order.
    atexit.unregister(finish)
    atexit.register(finish)
    forking.prepare(finish)


def batch_processors(provider: object) -> list[Any]:
    """Return the batch span processors of an SDK provider (none for other providers)."""
    multi = getattr(provider, "_active_span_processor", None)
    found = getattr(multi, "_span_processors", ())
    return [p for p in found if type(p).__name__ == "BatchSpanProcessor"]


def _batch_of(processor: Any) -> Any:
    return getattr(processor, "_batch_processor", processor)


def _watch(processor: Any) -> None:
    batch = _batch_of(processor)
    exporter = getattr(batch, "_exporter", None) or getattr(processor, "span_exporter", None)
    if exporter is not None and not getattr(exporter, "_otjobs_watched", False):
        export = exporter.export

        def counted_export(spans: Any) -> Any:
            _drops.in_flight = len(spans)
            taken = False
            try:
                result = export(spans)
                taken = getattr(result, "name", "SUCCESS") != "FAILURE"
            finally:
                _drops.in_flight = 0
                if not taken:
                    _drops.spans += len(spans)
                    warn("spans were dropped because the collector did not take them", exporter, count=len(spans))
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
