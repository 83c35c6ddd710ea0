"""The queue on three Redis lists, on a real Redis: its job trees, a killed worker, the dead letter list."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import parts
import pytest
import redis

from otjobs.testing import capture_jobs

EXAMPLE = Path(__file__).resolve().parent.parent.parent / "examples" / "redis_lists"
sys.path.insert(0, str(EXAMPLE))

import lists  # noqa: E402  (from the example's folder)

pytestmark = pytest.mark.redis

WORKER = """
import sys, time, redis, lists
lists.Queue(redis.Redis.from_url(sys.argv[1]), sys.argv[2]).work({"sleep": time.sleep})
"""


@pytest.fixture
def queue(redis_url):
    with redis.Redis.from_url(redis_url) as client:
        yield lists.Queue(client, f"q{uuid.uuid4().hex}")


def lengths(queue):
    return tuple(queue.redis.llen(name) for name in (queue.waiting, queue.processing, queue.dead))


def told(captured, *names):
    return [
        tuple(span.attributes.get(name) for name in ("otjobs.job.attempt", "otjobs.job.outcome", *names))
        for span in captured.executions
    ]


def test_a_job_and_its_child_are_one_tree(queue):
    with capture_jobs() as captured:
        queue.put("parent")
        functions = {"parent": lambda: queue.put("child", 1), "child": lambda number: None}
        while queue.work(functions, wait_seconds=0.1):
            pass
    assert captured.tree().split("\n") == [
        "dispatch parent",
        "  execute parent",
        "    dispatch child",
        "      execute child",
    ]
    assert lengths(queue) == (0, 0, 0)


def test_a_job_that_always_fails_becomes_a_dead_letter(queue):
    with capture_jobs() as captured:
        job = queue.put("divide")
        while queue.work({"divide": lambda: 1 / 0}, wait_seconds=0.1):
            pass
    assert told(captured, "error.type", "otjobs.job.dead_letter") == [
        (1, "retry", "ZeroDivisionError", None),
        (2, "retry", "ZeroDivisionError", None),
        (3, "failure", "ZeroDivisionError", True),
    ]
    assert {span.attributes["messaging.message.id"] for span in captured.executions} == {job}
    assert captured.tree().count("\n  execute divide") == 3
    assert lengths(queue) == (0, 0, 1)


def kill_a_worker(queue, redis_url):
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, redis_url, queue.name], env={**os.environ, "PYTHONPATH": str(EXAMPLE)}
    )
    parts.wait_until(lambda: queue.redis.hlen(queue.taken), seconds=90, what="the worker has the job")
    worker.send_signal(signal.SIGKILL)
    worker.wait()


def test_a_killed_workers_job_is_put_back_and_counted(queue, redis_url):
    with capture_jobs() as captured:
        queue.put("sleep", 60)
        kill_a_worker(queue, redis_url)
        assert lengths(queue) == (0, 1, 0)
        assert queue.requeue(older_than_seconds=60) == 0
        assert queue.requeue(older_than_seconds=0) == 1
        assert queue.work({"sleep": lambda seconds: None})
    assert told(captured, "error.type", "otjobs.job.observed") == [
        (1, "retry", "WorkerLost", True),
        (2, "success", None, None),
    ]
    lost = captured.executions[0]
    assert lost.end_time > lost.start_time
    assert lengths(queue) == (0, 0, 0)


def test_a_job_that_kills_every_worker_becomes_a_dead_letter(queue, redis_url):
    with capture_jobs() as captured:
        queue.put("sleep", 60)
        for _ in range(lists.MAX_ATTEMPTS):
            kill_a_worker(queue, redis_url)
            queue.requeue(older_than_seconds=0)
            queue.redis.delete(queue.taken)
    assert told(captured, "otjobs.job.dead_letter") == [(1, "retry", None), (2, "retry", None), (3, "lost", True)]
    assert lengths(queue) == (0, 0, 1)
