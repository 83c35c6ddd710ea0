"""Span processors of the application that raise: neither the job nor the other processors notice.

The SDK lets what a processor raises through to whoever starts or ends a span. For a job's span that is a publication,
or Celery's own handling of a task. And the processors behind the one that raised never see the span: if the exporter's
is among them, the job is missing from all figures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import SpanProcessor

from otjobs.faults import is_from_signal, warn
from otjobs.sdk import exporters
from otjobs.texts import described

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, Span

    from otjobs.sdk.patches import Patches


class Isolated(SpanProcessor):
    """Calls each of a provider's processors, whatever the others do.

    Args:
        processor: the provider's processor of all its processors, those that come later included.
    """

    def __init__(self, processor: Any) -> None:
        self.processor = processor
        self._all = exporters.processors_of(processor)
        self._known: tuple[Any, ...] = ()
        self._ending: tuple[tuple[Any, Callable[[Any], None]], ...] = ()
        """Those that have anything to do just before a span ends, which few have."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Hand on a span that starts."""
        for one in self._all():
            try:
                one.on_start(span, parent_context=parent_context)
            except Exception as error:
                _count(one, error)

    def _on_ending(self, span: Span) -> None:
        found = self._all()
        if found is not self._known:
            endings = ((one, exporters.ending_of(one)) for one in found)
            self._ending = tuple((one, ending) for one, ending in endings if ending is not None)
            self._known = found
        for one, ending in self._ending:
            try:
                ending(span)
            except Exception as error:
                _count(one, error)

    def on_end(self, span: ReadableSpan) -> None:
        """Hand on a span that has ended."""
        for one in self._all():
            try:
                one.on_end(span)
            except Exception as error:
                _count(one, error)

    def shutdown(self) -> None:
        """Shut the processors down."""
        self.processor.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Flush the processors."""
        return bool(self.processor.force_flush(timeout_millis))


def _count(processor: object, error: Exception) -> None:
    if is_from_signal(error):
        raise error
    warn(
        "a span processor of the application failed on the span of a job",
        f"{type(processor).__name__}: {described(error)}",
    )


def isolate(tracer: Any, patches: Patches) -> None:
    """Let the spans of this tracer, which is ours alone, reach every processor of its provider."""
    processor = getattr(tracer, "span_processor", None)
    if processor is not None and not isinstance(processor, Isolated):
        patches.replace(tracer, "span_processor", Isolated(processor))
