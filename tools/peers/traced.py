"""A plugin of pytest in the run of another library's suite: it instruments, and writes down how each test ended."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

INSTRUMENTOR = "OTJOBS_PEERS_INSTRUMENTOR"
REPORT = "OTJOBS_PEERS_REPORT"


class _Counting(SpanExporter):
    spans = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.spans += len(spans)
        return SpanExportResult.SUCCESS


_counting = _Counting()
_ended: dict[str, str] = {}


def pytest_configure() -> None:
    """Instrument, where this run is the instrumented one."""
    where = os.environ.get(INSTRUMENTOR)
    if where:
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(_counting))
        trace.set_tracer_provider(provider)
        module, name = where.split(":")
        getattr(importlib.import_module(module), name)().instrument()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember the worst that happened in a test, its set-up, its parts and its end."""
    worst = ("passed", "skipped", "failed")
    before, now = _ended.get(report.nodeid, "passed"), str(report.outcome)
    if now == "rerun":  # of pytest-rerunfailures: what follows decides
        _ended.pop(report.nodeid, None)
    else:
        _ended[report.nodeid] = max(before, now, key=worst.index)


def pytest_sessionfinish() -> None:
    """Write the report."""
    Path(os.environ[REPORT]).write_text(json.dumps({"spans": _counting.spans, "ended": _ended}))
