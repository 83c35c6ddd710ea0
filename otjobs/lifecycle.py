"""Fork, recycle, exit: nothing recorded is lost, and what had to be dropped is counted.

The SDK's batch processor loses its queue when a process leaves through `os._exit` (recycled pool children) and counts
nothing that it drops. Integrations call `flush` where a worker process ends; `prepare` watches the exporters.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from otjobs.config import settings
from otjobs.errors import guard, warn

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider


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
        warn("the last spans of a process did not leave in time", f"waited {seconds:g} s; is the collector reachable?")
        return False
    return bool(result and result[0])


def prepare(provider: TracerProvider) -> None:
    """Count what the span exporters of this provider have to drop, and flush multiprocessing children at their end."""
    for processor in batch_processors(provider):
        with guard("an exporter cannot be watched"):
            _watch(processor)
    _flush_in_multiprocessing_children()


def batch_processors(provider: object) -> list[Any]:
    """Return the batch span processors of an SDK provider (none for other providers)."""
    multi = getattr(provider, "_active_span_processor", None)
    found = getattr(multi, "_span_processors", ())
    return [p for p in found if type(p).__name__ == "BatchSpanProcessor"]


def _watch(processor: Any) -> None:
    batch = getattr(processor, "_batch_processor", processor)
    exporter = getattr(batch, "_exporter", None) or getattr(processor, "span_exporter", None)
    if exporter is not None and not getattr(exporter, "_otjobs_watched", False):
        export = exporter.export

        def counted_export(spans: Any) -> Any:
            result = export(spans)
            if getattr(result, "name", "") == "FAILURE":
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
            warn(
                "spans were dropped because the span queue is full",
                f"{limit} spans wait; raise OTEL_BSP_MAX_QUEUE_SIZE or look at the collector",
            )
        on_end(span)

    processor.on_end = counted_on_end
    processor._otjobs_watched = True  # noqa: SLF001


class _Anchor:
    """Something for multiprocessing to register on; it lives as long as this module."""


_anchor: _Anchor | None = None


def _flush_in_multiprocessing_children() -> None:
    """Flush in forked multiprocessing children, whose inherited atexit handlers do not run (3.11 to 3.13)."""
    global _anchor  # noqa: PLW0603
    if _anchor is not None:
        return
    from multiprocessing import util

    def in_child(_: object) -> None:
        util.Finalize(None, flush, exitpriority=100)

    _anchor = _Anchor()
    util.register_after_fork(_anchor, in_child)
