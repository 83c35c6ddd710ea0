"""Beacons of real workers: long runs say that they live, and leave nothing behind."""

from __future__ import annotations

import psutil
import pytest
from celery_main_harness import brief, stop

pytestmark = [pytest.mark.redis, pytest.mark.slow]

OFTEN = {"OTEL_PYTHON_OTJOBS_BEACON_AFTER": "0.5", "OTEL_PYTHON_OTJOBS_BEACON_INTERVAL": "0.5"}


def beacons(yard, job):
    return sorted((s for s in yard.spans if s.operation == "start" and s.job == job), key=lambda s: s.end)


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_a_long_run_sends_beacons_also_where_it_never_waits(yard, pool):
    worker = yard.worker(pool=pool, concurrency=2, **OFTEN)
    jobs = [
        yard.app.send_task(f"yard.{name}", (seconds,), queue=yard.queue).id
        for name, seconds in (("sleepy", 3.2), ("spin", 3.2), ("sleepy", 0.1))
    ]
    yard.wait_for("ended", 3)
    stop(worker)
    for job in jobs:
        [span] = yard.executions(job)
        found = beacons(yard, job)
        if job == jobs[2]:
            assert found == []
            continue
        # Never sooner than they are due; six of them, unless the machine is busy.
        assert len(found) >= 3, [(b.end - span.start) / 1e9 for b in found]
        for number, beacon in enumerate(found):
            assert (beacon.kind, beacon.name, beacon.parent, beacon.trace) == (
                "CLIENT",
                span.name.replace("execute", "start"),
                span.id,
                span.trace,
            )
            assert beacon.start == span.start
            assert beacon["otjobs.beacon.interval_seconds"] == 0.5
            assert (beacon.end - span.start) / 1e9 > 0.5 * (number + 1) - 0.05
            assert beacon.end < span.end


def test_the_last_sign_of_life_of_a_killed_job_has_left_it(yard):
    worker = yard.worker(concurrency=1, **OFTEN, OTEL_PYTHON_OTJOBS_SEND_SECONDS="0.05")
    job = yard.app.send_task("yard.exits", (3.2,), queue=yard.queue).id
    yard.wait_for_executions(1, job)
    stop(worker)
    [span] = yard.executions(job)
    assert brief(span) == ("lost", "WorkerLostError", True)
    found = beacons(yard, job)
    assert len(found) >= 3
    # The beacons tell the start that the child saw; the main process knows it almost as well.
    assert abs(found[0].start - span.start) < 1_000_000_000
    assert found[-1].end < span.end


def test_a_thousand_short_jobs_leave_nothing_behind(yard):
    worker = yard.worker(concurrency=1)

    def run(count):
        before = len(yard.seen("ended"))
        yard.produce(f"for _ in range({count}): quick.apply_async()", name=f"producer-{before}", traced=False)
        yard.wait_for("ended", before + count)
        [child] = psutil.Process(worker.pid).children()
        return [(p.num_threads(), p.num_fds(), p.memory_info().rss) for p in (psutil.Process(worker.pid), child)]

    first = run(200)
    second = run(1000)
    stop(worker)
    for (threads, fds, memory), (threads_later, fds_later, memory_later) in zip(first, second, strict=True):
        assert threads_later <= threads
        assert fds_later <= fds + 1
        assert memory_later - memory < 12 * 1024 * 1024
    assert len(yard.executions()) == 1200
