"""A slow, hanging or refusing collector stops no job in any pool, and delays no end beyond the flush bound.

A request of these exporters may last five minutes, so that whatever waits for the collector without a bound of its own
does not end in time.
"""

from __future__ import annotations

import contextlib
import os
import re
from concurrent import futures

import parts
import pytest
from away import GRPC, HOW, HTTP, away
from celery_main_harness import stop

pytestmark = [pytest.mark.redis, pytest.mark.slow]

LONG = 300
BOUND = 60
"""Seconds in which everything ends here, however busy the machine is; far less than a request may last."""
SHORT_FLUSH = {"OTEL_EXPORTER_OTLP_TIMEOUT": str(LONG), "OTEL_PYTHON_OTJOBS_FLUSH_SECONDS": "1"}
BEACONS = {"OTEL_PYTHON_OTJOBS_BEACON_AFTER": "0.3", "OTEL_PYTHON_OTJOBS_BEACON_INTERVAL": "0.3"}
GREEN = {"gevent": 50, "eventlet": 50}


@pytest.fixture(params=["refuses", "hangs"])
def url(request, collector):
    with away(request.param, HTTP, collector) as found:
        yield found


def lost(output):
    return sum(map(int, re.findall(r"ends and (\d+) of its spans are lost", output)))


@pytest.mark.parametrize("protocol", [HTTP, GRPC])
@pytest.mark.parametrize("pool", ["solo", "threads", "prefork", "gevent", "eventlet"])
def test_every_job_of_every_pool_runs_and_the_worker_ends(yard, collector, pool, protocol):
    concurrency = GREEN.get(pool, 4)
    jobs = {how: [f"{how}-{pool}-{n}" for n in range(150 if pool in GREEN else 8)] for how in HOW}
    with contextlib.ExitStack() as stack:
        urls = {how: stack.enter_context(away(how, protocol, collector)) for how in HOW}

        def start(how):
            return yard.worker(
                name=how,
                pool=pool,
                concurrency=concurrency,
                YARD_QUEUE=f"{yard.queue}-{how}",
                OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
                OTEL_EXPORTER_OTLP_ENDPOINT=urls[how],
                **SHORT_FLUSH,
                **BEACONS,
            )

        together = stack.enter_context(futures.ThreadPoolExecutor(len(HOW)))
        workers = dict(zip(HOW, together.map(start, HOW), strict=True))
        for how in HOW:
            for job in jobs[how]:
                yard.app.send_task("yard.sleepy", (0.8,), queue=f"{yard.queue}-{how}", task_id=job)
        every = {job for found in jobs.values() for job in found}
        parts.wait_until(
            lambda: every <= {e["job"] for e in yard.seen("ended")},
            seconds=BOUND,
            what=f"the jobs; ended: {[(how, len([e for e in yard.seen('ended') if e['job'].startswith(how)])) for how in HOW]}",
        )
        for _ in together.map(lambda worker: stop(worker, seconds=BOUND), workers.values()):
            pass
        assert [worker.popen.returncode for worker in workers.values()] == [0] * len(HOW)
        outputs = {how: worker.output(100_000) for how, worker in workers.items()}
    # A job that has waited for the collector would have run longer; its beacons say at least that it ran.
    assert set(jobs["slow"]) <= {s.job for s in yard.executions()}
    assert set(jobs["slow"]) <= {s.job for s in yard.spans if s.operation == "start"}
    assert lost(outputs["slow"]) == 0
    for how in ("hangs", "refuses"):
        assert lost(outputs[how]) >= len(jobs[how])
    for output in outputs.values():
        assert "Traceback" not in output, output[output.index("Traceback") - 500 :][:4000]


def test_a_worker_and_its_children_end_within_the_bound(yard, url):
    worker = yard.worker("--max-tasks-per-child", "2", concurrency=1, OTEL_EXPORTER_OTLP_ENDPOINT=url, **SHORT_FLUSH)
    for _ in range(5):
        yard.app.send_task("yard.quick", queue=yard.queue)
    yard.app.send_task("yard.nowhere", queue=yard.queue)
    yard.wait_for("ended", 5, seconds=BOUND)
    # Warm: the pool is joined within its own second or two, then the child and the main process wait one second each.
    stop(worker, seconds=BOUND)
    assert worker.popen.returncode == 0
    assert lost(worker.output(100_000)) == 6


def test_children_that_are_replaced_after_each_job_wait_out_the_bound_only_once(yard, collector):
    with away("hangs", HTTP, collector) as url:
        worker = yard.worker(
            "--max-tasks-per-child",
            "1",
            concurrency=1,
            OTEL_EXPORTER_OTLP_ENDPOINT=url,
            **{**SHORT_FLUSH, "OTEL_PYTHON_OTJOBS_FLUSH_SECONDS": "15"},
        )
        for _ in range(8):
            yard.app.send_task("yard.quick", queue=yard.queue)
        yard.wait_for("ended", 8, seconds=BOUND)  # two minutes, if each of them waited
        stop(worker, seconds=BOUND)
        assert lost(worker.output(100_000)) == 8


def test_a_producer_ends_within_the_bound(yard, url):
    producer = yard.produce(
        "import time\nbegun = time.time()\nfor _ in range(7): quick.apply_async()\nlog('published', seconds=time.time() - begun)",
        OTEL_EXPORTER_OTLP_ENDPOINT=url,
        **SHORT_FLUSH,
    )
    [published] = yard.seen("published")
    assert published["seconds"] < BOUND
    ended = os.stat(producer.log).st_mtime_ns
    assert (ended - published["at"]) / 1e9 < BOUND
    assert lost(producer.output()) == 7, producer.output()


def test_what_the_application_does_at_the_end_of_a_child_comes_before_our_wait(yard, collector):
    """A hard time limit leaves a child a tenth of a second."""
    with away("hangs", HTTP, collector) as url:
        worker = yard.worker(
            concurrency=1, OTEL_EXPORTER_OTLP_ENDPOINT=url, conf={"imports": ["yard_endings"]}, **SHORT_FLUSH
        )
        yard.produce("from yard_endings import *\nreturns.delay()\nhas_no_time.apply_async((6,), task_id='over')\n")
        yard.wait_for("started", job="over")
        yard.wait_for("closed")
        stop(worker)
