"""Green pools are prepared before the SDK, and the distro that was meant is still the one that comes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from opentelemetry.distro import OpenTelemetryDistro
from opentelemetry.instrumentation.auto_instrumentation import _load
from opentelemetry.instrumentation.distro import DefaultDistro

from otjobs.integrations.celery import green_pools

WORKER = ["/venv/bin/celery", "-A", "app", "worker", "-P", "eventlet"]
CHOSEN = "OTEL_PYTHON_DISTRO"


@pytest.fixture
def patched(monkeypatch):
    """The commands whose pools were patched, in place of patching this process."""
    import celery

    found = []
    monkeypatch.setattr(celery, "maybe_patch_concurrency", found.append)
    monkeypatch.setattr(green_pools, "_patched", False)
    for name in (CHOSEN, "OTJOBS_GREEN_DISTRO"):
        monkeypatch.setenv(name, "")  # so that what the test leaves there is removed
        monkeypatch.delenv(name)
    return found


def starts(monkeypatch, command):
    """What `opentelemetry-instrument` does: the launcher, then the process that it becomes."""
    green_pools.choose_distro(["opentelemetry-instrument", *command])
    monkeypatch.setattr("sys.orig_argv", command)
    return _load._load_distro()


def test_a_green_worker_is_patched_and_gets_the_usual_distro(monkeypatch, patched):
    assert isinstance(starts(monkeypatch, WORKER), OpenTelemetryDistro)
    assert patched == [WORKER]
    assert CHOSEN not in os.environ
    assert "OTJOBS_GREEN_DISTRO" not in os.environ


def test_the_distro_that_the_user_chose_comes_and_is_what_children_see(monkeypatch, patched):
    monkeypatch.setenv(CHOSEN, "distro")
    assert isinstance(starts(monkeypatch, WORKER), OpenTelemetryDistro)
    assert patched == [WORKER]
    assert os.environ[CHOSEN] == "distro"


def test_a_distro_that_is_not_there_leaves_the_default(monkeypatch, patched):
    monkeypatch.setenv(CHOSEN, "nobody-has-it")
    assert type(starts(monkeypatch, WORKER)) is DefaultDistro
    assert patched == [WORKER]


def test_other_programs_get_the_usual_distro_and_are_not_patched(monkeypatch, patched):
    assert isinstance(starts(monkeypatch, ["celery", "-A", "app", "worker"]), OpenTelemetryDistro)
    assert patched == []
    assert CHOSEN not in os.environ


@pytest.mark.parametrize("starter", [["celery", "multi", "start", "w", "-P", "gevent"], [*WORKER, "--detach"]])
def test_what_only_starts_the_worker_passes_the_choice_on(monkeypatch, patched, starter):
    assert isinstance(starts(monkeypatch, starter), OpenTelemetryDistro)
    assert os.environ[CHOSEN] == "otjobs_green"
    monkeypatch.setattr("sys.orig_argv", WORKER)
    monkeypatch.setattr(green_pools, "_patched", False)
    assert isinstance(_load._load_distro(), OpenTelemetryDistro)
    assert patched[-1] == WORKER
    assert CHOSEN not in os.environ


def test_a_worker_whose_sdk_was_earlier_says_what_to_set(monkeypatch, patched, caplog):
    monkeypatch.setattr("sys.orig_argv", WORKER)
    green_pools.patch_early()
    assert patched == [WORKER]
    assert "set OTEL_PYTHON_DISTRO=otjobs_green" in caplog.text


LATE = """
import os, threading, time
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

exporting, released = threading.Event(), threading.Event()

class Hanging(SpanExporter):
    def export(self, spans):
        exporting.set()
        released.wait(60)
        return SpanExportResult.SUCCESS

provider = TracerProvider(shutdown_on_exit=False)
provider.add_span_processor(BatchSpanProcessor(Hanging(), schedule_delay_millis=10))
trace.set_tracer_provider(provider)
provider.get_tracer("app").start_span("held").end()
assert exporting.wait(30)
{patch}
import otjobs
ticks = []

def tick():
    while True:
        ticks.append(1)
        time.sleep(0.05)

threading.Thread(target=tick, daemon=True).start()
with otjobs.dispatching("job"):
    pass
before = len(ticks)
assert not otjobs.flush(1.0)
print(len(ticks) - before, flush=True)
os._exit(0)
"""
PATCHES = {
    "gevent": "from gevent import monkey\nmonkey.patch_all()",
    "eventlet": "import eventlet\neventlet.monkey_patch()",
}


@pytest.mark.parametrize("library", PATCHES)
def test_a_flush_in_a_program_that_patched_after_the_sdk_started_stops_no_other_green_thread(library):
    """The SDK's own thread holds its lock, which is one of the operating system, while the collector hangs."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LATE.format(patch=PATCHES[library])],
        capture_output=True,
        text=True,
        timeout=40,
        check=True,
    )
    assert int(done.stdout) >= 5
