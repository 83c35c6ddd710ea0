"""RQ alone: a queue on real Redis, workers in this process, and workers in processes that can be killed."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import parts
import pytest
from harness import Story
from redis import Redis
from rq import Queue, SimpleWorker
from rq.timeouts import TimerDeathPenalty

from otjobs.integrations.rq import RQInstrumentor
from otjobs.testing import capture_jobs

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "celery_main")]


@pytest.fixture(scope="session")
def rq_url(redis_url):
    return redis_url.replace("/0", "/9")


@pytest.fixture
def connection(rq_url):
    with Redis.from_url(rq_url) as found:
        found.flushdb()
        yield found


@pytest.fixture
def queue(connection):
    return Queue("main", connection=connection)


@pytest.fixture
def captured():
    """The spans of this process, where RQ is traced."""
    with capture_jobs() as found:
        RQInstrumentor().instrument()
        yield found
        RQInstrumentor().uninstrument()


class Worker(SimpleWorker):
    death_penalty_class = TimerDeathPenalty  # pytest has the alarm for itself


@pytest.fixture
def worker(connection):
    return Worker(["main"], connection=connection)


@pytest.fixture
def work(connection):
    """Run what is on the queues, in this process."""

    def run(*names, serializer=None, **options):
        Worker(names or ["main"], connection=connection, serializer=serializer).work(burst=True, **options)

    return run


@pytest.fixture
def process(tmp_path, rq_url, receiver, connection):
    """Start `rq` in a process of its own and wait for a text in its output."""
    started = []

    def start(*command, name="worker", until="Listening on", traced=True, **environment):
        line = [str(Path(sys.executable).parent / "opentelemetry-instrument")] * traced
        line += [str(Path(sys.executable).parent / "rq"), *command, "--url", rq_url]
        found = parts.Process(
            line, log=tmp_path / f"{name}.log", env=settings(rq_url, receiver, tmp_path, name, **environment)
        )
        started.append(found)
        found.wait_ready(lambda: until in found.output(100_000), seconds=60, what=name)
        return found

    yield start
    for one in started:
        horses = parts.children(one.pid)  # in process groups of their own
        one.kill()
        for pid in horses:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def settings(rq_url, receiver, folder, service="test", **more):
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith("OTEL_")},
        "RQ_TEST_URL": rq_url,
        "RQ_TEST_LOG": str(folder / "app.jsonl"),
        "OTEL_SERVICE_NAME": service,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_PYTHON_OTJOBS_SEND_SECONDS": "0.05",
        "PYTHONPATH": str(HERE),
        **more,
    }


@pytest.fixture
def story(receiver, tmp_path):
    (tmp_path / "app.jsonl").touch()
    return Story(receiver, tmp_path / "app.jsonl")
