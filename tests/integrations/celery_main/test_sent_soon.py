"""What a job leaves is out of its process soon after its end, so that hardly anything is lost with a killed worker."""

from __future__ import annotations

import os
import time

import pytest
from away import GRPC, HTTP, grpc_port

pytestmark = [pytest.mark.redis, pytest.mark.slow]

SOON = 3.0
"""Seconds after a job's end: one second that spans wait for others, and the rest for a busy machine."""
SECONDS = 7
"""Jobs end all along, so that some end just after a batch of theirs has left; the SDK's own delay is five seconds."""


@pytest.mark.parametrize(
    ("pool", "protocol"),
    [("prefork", HTTP), ("prefork", GRPC), ("solo", HTTP), ("threads", GRPC), ("gevent", HTTP), ("eventlet", HTTP)],
)
def test_a_killed_worker_loses_no_job_that_ended_three_seconds_before(yard, collector, pool, protocol):
    with grpc_port(collector.take) as grpc_url:
        worker = yard.worker(
            pool=pool,
            concurrency=2,
            OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url if protocol == HTTP else grpc_url,
        )
        count = SECONDS * 5 * (1 if pool == "solo" else 2)
        for _ in range(count):
            yard.app.send_task("yard.sleepy", (0.2,), queue=yard.queue)
        yard.wait_for("ended", count, seconds=60)
        time.sleep(SOON)
        worker.kill()
    runs = yard.executions()
    assert len(runs) == count
    late = [(run.arrived - run.end) / 1e9 for run in runs]
    assert max(late) < SOON, sorted(late)[-5:]


def test_a_batch_delay_that_somebody_chose_stays(yard, collector):
    worker = yard.worker(pool="solo", concurrency=1, OTEL_BSP_SCHEDULE_DELAY="3600000")
    for _ in range(3):
        yard.app.send_task("yard.quick", queue=yard.queue)
    yard.wait_for("ended", 3)
    time.sleep(SOON)
    assert yard.executions() == []
    assert worker.stop(30) == os.EX_OK
    assert len(yard.executions()) == 3
