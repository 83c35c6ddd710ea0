"""A retry of a real Celery worker: in its backoff it waits nowhere, once it is due it waits everywhere."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import parts
import pytest
from click.testing import CliRunner

from otjobs.backend.cli.app import cli

pytestmark = [pytest.mark.redis, pytest.mark.slow]

APP = """
import os
from celery import Celery

app = Celery("patient", broker=os.environ["BROKER"])
app.conf.update(task_default_queue="patient", broker_connection_retry_on_startup=True, task_ignore_result=True)


@app.task(bind=True)
def backoff(self, seconds):
    raise self.retry(countdown=seconds)
"""


def waiting(client):
    """What each place says of the queue: who waits, and the states of its jobs."""
    queues = json.loads(CliRunner().invoke(cli, ["queues", "--json", "--url", client.at.url]).stdout)
    return (
        [row["waiting"] for row in queues],
        client.sql("SELECT sum(waiting) FROM queue_minutes WHERE minute = toStartOfMinute(now())")[0][0],
        client.sql("SELECT countIf(state = 'waiting') FROM open_jobs")[0][0],
        sorted(row[0] for row in client.sql("SELECT state FROM jobs")),
    )


def ends(client):
    return client.sql("SELECT count() FROM attempts WHERE outcome = 'retry'")[0][0]


def is_due(client):
    due = "toInt64OrZero(SpanAttributes['otjobs.job.retry_ready_at'])"
    found = client.sql(f"SELECT countIf({due} > 0 AND {due} <= toUnixTimestamp64Nano(now64(9))) FROM otel_traces")
    return found[0][0] > 0


def test_a_retry_waits_once_it_is_due(start, tmp_path, redis_url):
    client = start()
    (tmp_path / "patient.py").write_text(APP)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("OTEL_")},
        "BROKER": redis_url,
        "OTEL_SERVICE_NAME": "patient",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_ENDPOINT": client.at.otlp_http,
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
    }
    traced = [str(Path(sys.executable).parent / "opentelemetry-instrument"), sys.executable]

    def run(name, *command):
        return parts.Process([*traced, *command], log=tmp_path / f"{name}.log", env=environment, cwd=tmp_path)

    def send(seconds, count):
        producer = run(f"producer-{count}", "-c", f"from patient import backoff\nbackoff.delay({seconds})\n")
        assert producer.popen.wait(60) == 0
        parts.wait_until(lambda: ends(client) >= count, seconds=60, what="the end of the attempt")

    worker = run("worker", "-m", "celery", "-A", "patient", "worker", "-P", "solo", "-l", "info")
    try:
        # Given a retry in an hour
        worker.wait_ready(lambda: " ready." in worker.output(), seconds=60, what="the worker")
        send(3600, 1)
        # Then it waits nowhere
        assert waiting(client) == ([0], 0, 0, ["retrying"])
        # Given a retry in 40 seconds, before which the worker stops
        send(40, 2)
    finally:
        worker.stop(30)
    # Then it waits everywhere, once it is due
    parts.wait_until(lambda: is_due(client), seconds=90, what="the retry to be due")
    assert waiting(client) == ([1], 1, 1, ["retrying", "waiting"])
