"""The spans of this process's jobs, in memory, with a fixed clock and countable ids if wanted."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator

from otjobs import attributes as a
from otjobs import clock as clocks
from otjobs import tracing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class CountingIds(IdGenerator):
    """Trace and span ids that count from 1."""

    def __init__(self) -> None:
        self._trace = self._span = 0

    def generate_span_id(self) -> int:
        """Return the next span id."""
        self._span += 1
        return self._span

    def generate_trace_id(self) -> int:
        """Return the next trace id."""
        self._trace += 1
        return self._trace


class TickingClock:
    """A clock that starts at `start` unix ns and goes on by `step` ns at every reading."""

    def __init__(self, start: int = 1_700_000_000_000_000_000, step: int = 1_000_000_000) -> None:
        self.time = start
        self.step = step

    def __call__(self) -> int:
        """Return the time and move on."""
        self.time += self.step
        return self.time


@dataclass(slots=True)
class Captured:
    """The spans that ended inside `capture_jobs`, in order of their end."""

    provider: TracerProvider
    _exporter: InMemorySpanExporter

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        """Every span."""
        return self._exporter.get_finished_spans()

    def operations(self, name: str) -> list[ReadableSpan]:
        """Return the spans of one operation: dispatch, start or execute."""
        return [s for s in self.spans if (s.attributes or {}).get(a.OPERATION_NAME) == name]

    @property
    def dispatches(self) -> list[ReadableSpan]:
        """The dispatch spans."""
        return self.operations("dispatch")

    @property
    def executions(self) -> list[ReadableSpan]:
        """The execute spans."""
        return self.operations("execute")

    @property
    def beacons(self) -> list[ReadableSpan]:
        """The start and alive beacons."""
        return self.operations("start")

    def tree(self) -> str:
        """Return the span names as an indented tree, in order of start."""
        spans = sorted(self.spans, key=lambda s: s.start_time or 0)
        ids = {s.context.span_id for s in spans if s.context}
        lines: list[str] = []

        def add(parent: int | None, depth: int) -> None:
            for span in spans:
                above = span.parent.span_id if span.parent and span.parent.span_id in ids else None
                if above == parent and span.context is not None:
                    lines.append("  " * depth + span.name)
                    add(span.context.span_id, depth + 1)

        add(None, 0)
        return "\n".join(lines)

    def clear(self) -> None:
        """Forget the spans so far."""
        self._exporter.clear()


@contextmanager
def capture_jobs(
    *, service: str = "test", clock: Callable[[], int] | None = None, counting_ids: bool = False
) -> Iterator[Captured]:
    """Send this process's job spans to memory inside the block.

    Args:
        service: the service name of the spans.
        clock: unix ns; `TickingClock()` makes times repeatable.
        counting_ids: trace and span ids count from 1.
    """
    exporter = InMemorySpanExporter()
    provider = TracerProvider(
        resource=Resource.create({"service.name": service}),
        id_generator=CountingIds() if counting_ids else None,
    )
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    before = clocks.source
    if clock is not None:
        clocks.source = clock
    tracing.use_tracer_provider(provider)
    try:
        yield Captured(provider, exporter)
    finally:
        tracing.use_tracer_provider(None)
        clocks.source = before
        provider.shutdown()
