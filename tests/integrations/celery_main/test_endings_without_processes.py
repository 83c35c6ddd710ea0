"""Ends that the pools without child processes know: greenlets that are killed, threads that nobody can end."""

from __future__ import annotations

import pytest
from celery_main_harness import Yard, brief, counting, stop

pytestmark = [pytest.mark.redis, pytest.mark.slow]

CONF = {"imports": ["yard_endings"]}
SUCCESS = ("success", "", False)


@pytest.fixture(scope="module", params=["gevent", "eventlet", "threads"])
def pool(request, tmp_path_factory, collector, redis_url):
    """One worker with a job of each kind; gives the yard after the worker has stopped."""
    if request.param != "threads":
        pytest.importorskip(request.param)
    yard = Yard(tmp_path_factory.mktemp("pool"), collector, redis_url)
    yard.pool = request.param
    # Celery has time limits only with gevent, and a thread cannot be ended.
    yard.timed, yard.killable = request.param == "gevent", request.param != "threads"
    try:
        worker = yard.worker(pool=request.param, concurrency=6, conf=CONF)
        yard.produce(
            "from yard import leaves, sleepy\n"
            "from yard_endings import *\n"
            "sleepy.apply_async((6,), task_id='told')\n"
            "has_no_time.apply_async((4,), task_id='over')\n"
            "has_no_time_and_is_requeued.apply_async((4,), task_id='requeued')\n"
            "leaves.apply_async(task_id='leaves')\n"
            "empties_its_request.apply_async(task_id='emptied')\n",
            conf=CONF,
        )
        yard.wait_for("started", job="told")
        yard.app.control.revoke("told", terminate=True)
        for job in ("told", "over", "leaves", "emptied"):
            yard.wait_for_executions(1, job, seconds=40)
        yard.wait_for_executions(1 + yard.timed, "requeued", seconds=40)
        stop(worker)
        yield yard
    finally:
        yard.stop()


def counted(yard, job):
    """What counts of each attempt, and every report of it."""
    spans = yard.executions(job)
    attempts = [
        [s for s in spans if s["otjobs.job.attempt"] == n] for n in sorted({s["otjobs.job.attempt"] for s in spans})
    ]
    return [brief(counting(found)) for found in attempts], [{brief(s)[:2] for s in found} for found in attempts]


def test_a_job_that_is_told_to_end_while_it_runs(pool):
    wanted = ("cancelled", "Terminated", False) if pool.killable else SUCCESS
    assert counted(pool, "told") == ([wanted], [{wanted[:2]}])
    assert bool(pool.seen("ended", "told")) is not pool.killable


def test_a_job_that_overruns_its_hard_time_limit(pool):
    over = ("failure", "TimeLimitExceeded", False) if pool.timed else SUCCESS
    assert counted(pool, "over") == ([over], [{over[:2]}])
    requeued = [("retry", "TimeLimitExceeded", False), SUCCESS] if pool.timed else [SUCCESS]
    assert counted(pool, "requeued") == (requeued, [{one[:2]} for one in requeued])


def test_a_job_that_leaves(pool):
    assert counted(pool, "leaves")[0] == [("failure", "SystemExit", False)]


def test_a_job_that_empties_its_own_request(pool):
    assert counted(pool, "emptied") == ([SUCCESS], [{SUCCESS[:2]}])
