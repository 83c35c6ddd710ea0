"""Spans leave soon, and no end of a process waits for the collector beyond its bound."""

from __future__ import annotations

import threading

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from otjobs import config, tracing
from otjobs.sdk import exporters, lifecycle, losses, patches

LONG = 60.0
"""What hangs here hangs longer than any test waits."""


class Exporter(SpanExporter):
    """Takes what it is given; with `hangs`, not before `released`."""

    def __init__(self):
        self.spans = []
        self.hangs = False
        self.asked, self.released = threading.Event(), threading.Event()

    def export(self, spans):
        self.asked.set()
        if self.hangs:
            self.released.wait(LONG)
        self.spans += spans
        return SpanExportResult.SUCCESS

    def shutdown(self):
        self.released.set()


@pytest.fixture
def settings(monkeypatch):
    """Set variables of otjobs for this test."""

    def given(**values):
        for name, value in values.items():
            monkeypatch.setenv(name, value)
        config.settings.cache_clear()

    monkeypatch.delenv("OTEL_BSP_SCHEDULE_DELAY", raising=False)
    config.settings.cache_clear()
    yield given
    monkeypatch.undo()
    config.settings.cache_clear()


@pytest.fixture
def provided(settings, monkeypatch):
    """A provider in use with that exporter, and its batch."""
    monkeypatch.setattr(losses, "lost", losses.Lost())
    monkeypatch.setattr(lifecycle, "_family", lifecycle._Family())
    made = []

    def make(**options):
        exporter = Exporter()
        provider = TracerProvider(shutdown_on_exit=False)
        processor = BatchSpanProcessor(exporter, **options)
        provider.add_span_processor(processor)
        tracing.use_tracer_provider(provider)
        tracing.tracer()
        made.append((exporter, provider))
        return exporter, processor._batch_processor

    yield make
    tracing.use_tracer_provider(None)
    for exporter, provider in made:
        exporter.released.set()
        provider.shutdown()


def span():
    tracing.tracer().start_span("one").end()


@pytest.mark.parametrize(
    ("variables", "options", "delay"),
    [
        ({}, {}, 1.0),
        ({"OTEL_BSP_SCHEDULE_DELAY": "30000"}, {}, 30.0),
        ({"OTEL_BSP_SCHEDULE_DELAY": "30000", "OTEL_PYTHON_OTJOBS_SEND_SECONDS": "2"}, {}, 2.0),
        ({"OTEL_BSP_SCHEDULE_DELAY": "200", "OTEL_PYTHON_OTJOBS_SEND_SECONDS": "2"}, {}, 0.2),
        ({}, {"schedule_delay_millis": 20_000}, 20.0),
        ({"OTEL_PYTHON_OTJOBS_SEND_SECONDS": "0.5"}, {"schedule_delay_millis": 20_000}, 0.5),
        ({"OTEL_PYTHON_OTJOBS_SEND_SECONDS": "0"}, {}, 5.0),
        ({"OTEL_PYTHON_OTJOBS_SEND_SECONDS": "soon"}, {}, 1.0),
    ],
)
def test_how_long_spans_wait_for_others(settings, provided, variables, options, delay):
    settings(**variables)
    provided(**options)
    assert lifecycle.send_delay() == delay


def test_the_shorter_delay_holds_at_once(settings, provided):
    """The SDK's thread has begun to wait for an hour before the delay is shortened."""
    settings(OTEL_PYTHON_OTJOBS_SEND_SECONDS="0.1")
    exporter, _ = provided(schedule_delay_millis=3_600_000)
    span()
    assert exporter.asked.wait(LONG)


def test_an_sdk_that_cannot_be_told_is_named(settings, provided, caplog):
    lifecycle._send_sooner(exporters.Batch(object()), patches.Patches())
    assert "set OTEL_BSP_SCHEDULE_DELAY" in caplog.text


def test_a_flush_does_not_wait_beyond_its_bound(provided):
    exporter, _ = provided()
    exporter.hangs = True
    span()
    assert not lifecycle.flush(0.2)
    assert exporter.spans == []
    exporter.released.set()
    assert lifecycle.flush(LONG)
    assert len(exporter.spans) == 1


@pytest.fixture
def no_threads(monkeypatch):
    """As at interpreter shutdown from Python 3.12 on."""

    def start(self):
        raise RuntimeError("can't create new thread at interpreter shutdown")

    def begin():
        monkeypatch.setattr(threading.Thread, "start", start)

    yield begin
    monkeypatch.undo()


def test_an_end_without_new_threads_sends_the_last_spans(provided, no_threads, caplog):
    exporter, _ = provided(schedule_delay_millis=3_600_000)
    span()
    no_threads()
    lifecycle.finish()
    assert len(exporter.spans) == 1
    assert "are lost" not in caplog.text


def test_an_end_without_new_threads_does_not_wait_beyond_the_bound_either(settings, provided, no_threads, caplog):
    settings(OTEL_PYTHON_OTJOBS_FLUSH_SECONDS="0.2")
    exporter, batch = provided(schedule_delay_millis=3_600_000)
    exporter.hangs = True
    exporter.shutdown = lambda: None
    span()
    no_threads()
    lifecycle.finish()
    assert not exporter.released.is_set()
    assert batch._worker_thread.is_alive()  # it still waits for the collector, this thread does not
    assert "ends and 1 of its spans are lost" in caplog.text


def test_a_flush_that_failed_long_ago_does_not_spoil_the_last_one(provided, monkeypatch):
    exporter, _ = provided(schedule_delay_millis=3_600_000)
    exporter.hangs = True
    span()
    assert not lifecycle.flush(0.1)
    exporter.hangs = False
    exporter.released.set()
    assert losses.lost.gave_up
    monkeypatch.setattr(losses, "_JUST", 0.0)
    span()
    lifecycle.finish()
    assert len(exporter.spans) == 2
