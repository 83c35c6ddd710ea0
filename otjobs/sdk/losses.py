"""How many spans this process recorded and could not hand over: the SDK drops them without a count."""

from __future__ import annotations

import math
import os
import time
from typing import TYPE_CHECKING, Any, Final

from otjobs.faults import warn
from otjobs.texts import described

if TYPE_CHECKING:
    from otjobs.sdk.exporters import Batch
    from otjobs.sdk.patches import Patches

_JUST: Final = 10.0
"""For this many seconds after a flush that the collector did not take, an end of the process does not try again."""


class Lost:
    """What this process could not hand over."""

    def __init__(self) -> None:
        self.spans = 0
        self.in_flight = 0
        self.gave_up_at = -math.inf
        """When a flush last ended without success, on the monotonic clock."""

    @property
    def gave_up(self) -> bool:
        """Tell whether a flush has just ended without success."""
        return time.monotonic() - self.gave_up_at < _JUST


lost = Lost()
"""Of this process; a forked child has one of its own."""


def watch(batch: Batch, patches: Patches) -> None:
    """Count the spans that this batch processor and its exporter drop."""
    exporter = batch.exporter
    if exporter is not None and not isinstance(exporter.export, _CountedExport):
        patches.replace(exporter, "export", _CountedExport(exporter))
    if batch.most and not isinstance(batch.processor.on_end, _CountedOnEnd):
        patches.replace(batch.processor, "on_end", _CountedOnEnd(batch, batch.most))


class _CountedExport:
    """The `export` of an exporter."""

    def __init__(self, exporter: Any) -> None:
        self._export = exporter.export
        self._exporter = type(exporter).__name__

    def __call__(self, spans: Any) -> Any:
        lost.in_flight = len(spans)
        why = "spans were dropped because their exporter failed"
        taken, detail = False, self._exporter
        try:
            result = self._export(spans)
            taken = getattr(result, "name", "SUCCESS") != "FAILURE"
            why = "spans were dropped because the collector did not take them"
        except Exception as error:
            detail = f"{detail}: {described(error)}"
            raise
        finally:
            lost.in_flight = 0
            if not taken:
                lost.spans += len(spans)
                warn(why, detail, count=len(spans))
        return result


class _CountedOnEnd:
    """The `on_end` of a batch span processor."""

    def __init__(self, batch: Batch, most: int) -> None:
        self._on_end = batch.processor.on_end
        self._queue = batch.queue
        self._most = most

    def __call__(self, span: Any) -> None:
        if len(self._queue) >= self._most:
            lost.spans += 1
            warn(
                "spans were dropped because the span queue is full",
                f"{self._most} spans wait; raise OTEL_BSP_MAX_QUEUE_SIZE or look at the collector",
            )
        self._on_end(span)


def _after_fork() -> None:
    global lost  # noqa: PLW0603  (a child has dropped nothing yet)
    lost = Lost()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
