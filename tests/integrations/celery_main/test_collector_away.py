"""A dead collector delays nothing beyond the flush bound, and what had to be dropped is counted and logged."""

from __future__ import annotations

import os
import re
import socket

import parts
import pytest
from celery_main_harness import stop

pytestmark = [pytest.mark.redis, pytest.mark.slow]


@pytest.fixture(params=["refuses", "is silent"])
def away(request):
    """The URL of a collector that refuses connections, or accepts them and never answers."""
    if request.param == "refuses":
        yield f"http://127.0.0.1:{parts.free_port()}"
        return
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def lost(output):
    return sum(map(int, re.findall(r"ends and (\d+) of its spans are lost", output)))


def test_a_worker_and_its_children_end_within_the_bound(yard, away):
    worker = yard.worker(
        "--max-tasks-per-child",
        "2",
        concurrency=1,
        OTEL_EXPORTER_OTLP_ENDPOINT=away,
        OTEL_PYTHON_OTJOBS_FLUSH_SECONDS="1",
    )
    for _ in range(5):
        yard.app.send_task("yard.quick", queue=yard.queue)
    yard.app.send_task("yard.nowhere", queue=yard.queue)
    yard.wait_for("ended", 5, seconds=25)
    # Warm: the pool is joined within its own second or two, then the child and the main process wait one second each.
    assert stop(worker) < 7
    assert worker.popen.returncode == 0
    assert lost(worker.output(100_000)) == 6


def test_a_producer_ends_within_the_bound(yard, away):
    producer = yard.produce(
        "import time\nbegun = time.time()\nfor _ in range(7): quick.apply_async()\nlog('published', seconds=time.time() - begun)",
        OTEL_EXPORTER_OTLP_ENDPOINT=away,
        OTEL_PYTHON_OTJOBS_FLUSH_SECONDS="1",
    )
    [published] = yard.seen("published")
    assert published["seconds"] < 2
    ended = os.stat(producer.log).st_mtime_ns
    assert (ended - published["at"]) / 1e9 < 3
    assert lost(producer.output()) == 7, producer.output()
