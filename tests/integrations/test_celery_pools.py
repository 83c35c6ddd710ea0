"""Every kind of Celery pool and broker gives the same spans."""

from __future__ import annotations

import time

import parts
import pytest
from celery_harness import CeleryHarness
from truth import verify

A = "conformance_app"
SENDS = [
    {"name": "parent", "args": [2]},
    {"name": "retry_twice", "args": [1]},
    {"name": "fail"},
    {"name": "fail_expected"},
    {"name": "add", "args": [1], "countdown": 0.3},
    {"name": "burn", "args": [0.05]},
    *({"name": "nap", "args": [0.1]} for _ in range(6)),
]
TREE = [
    "dispatch add",
    "  execute add #1 success",
    "dispatch burn",
    "  execute burn #1 success",
    "dispatch fail",
    "  execute fail #1 failure Broken",
    "dispatch fail_expected",
    "  execute fail_expected #1 failure Expected",
    *["dispatch nap", "  execute nap #1 success"] * 6,
    "dispatch parent",
    "  execute parent #1 success",
    "    dispatch add",
    "      execute add #1 success",
    "    dispatch add",
    "      execute add #1 success",
    "dispatch retry_twice",
    "  execute retry_twice #1 retry Broken",
    "  execute retry_twice #2 success",
]


@pytest.fixture(scope="module")
def producer(celery):
    return celery.producer("pools-producer", APP_CONF='{"task_default_queue": "pools"}')


@pytest.mark.redis
@pytest.mark.parametrize("pool", ["prefork", "threads", "solo", "gevent", "eventlet"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_pool_gives_the_same_spans(celery, producer, pool):
    worker = celery.worker(
        f"pool-{pool}", pool=pool, concurrency=4, queues="pools", APP_CONF='{"task_default_queue": "pools"}'
    )
    try:
        story = celery.story()
        producer.run("send_many", sends=SENDS)
        story.wait(executed=15, dispatched=14, seconds=30)
        assert story.tree().replace(f"{A}.", "").splitlines() == TREE
        verify(story, cpu=pool not in ("gevent", "eventlet"))
        # A chord, whose body is published at the end of a header
        story = celery.story()
        producer.run("apply_canvas", kind="chord")
        story.wait(executed=3, dispatched=3)
        verify(story, cpu=pool not in ("gevent", "eventlet"))
        assert "otjobs: " not in worker.output
    finally:
        assert worker.stop() == 0


@pytest.mark.redis
def test_recycled_children_give_every_span(celery, producer):
    conf = '{"task_default_queue": "pools", "worker_max_tasks_per_child": 1}'
    worker = celery.worker("recycled", concurrency=2, queues="pools", APP_CONF=conf)
    try:
        story = celery.story()
        producer.run("send_many", sends=[{"name": "add", "args": [n]} for n in range(8)])
        story.wait(executed=8, seconds=40)
        verify(story)
        assert len({e["pid"] for e in story.log if e["what"] == "started"}) == 8
    finally:
        worker.stop()


def test_a_broker_in_the_file_system(receiver, tmp_path):
    for name in ("queue", "results", "control"):
        (tmp_path / name).mkdir()
    options = {
        "data_folder_in": str(tmp_path / "queue"),
        "data_folder_out": str(tmp_path / "queue"),
        "control_folder": str(tmp_path / "control"),
        "polling_interval": 0.05,
    }
    import json

    conf = json.dumps({"broker_transport_options": options})
    harness = CeleryHarness(tmp_path / "app", receiver, "filesystem://", backend=f"file://{tmp_path}/results")
    try:
        worker = harness.worker("files", concurrency=2, queues="main", APP_CONF=conf)
        producer = harness.producer("files-producer", APP_CONF=conf)
        story = harness.story()
        producer.run("send_many", sends=SENDS)
        story.wait(executed=15, dispatched=14, seconds=40)
        verify(story)
        assert story.tree().replace(f"{A}.", "").splitlines() == TREE
        assert "otjobs: " not in worker.output + producer.output
    finally:
        harness.stop()


def test_a_broker_in_memory(receiver, tmp_path):
    """Producer and worker in one process, as in other people's tests."""
    harness = CeleryHarness(tmp_path / "app", receiver, "memory://", backend="cache+memory://")
    try:
        producer = harness.producer("memory")
        story = harness.story()
        producer.run("with_worker_inside", sends=SENDS[:5], ended=8)
        story.wait(executed=8, dispatched=7)
        verify(story)
        assert "otjobs.job.producer" not in story.executions[0].attributes
    finally:
        harness.stop()


@pytest.mark.redis
def test_a_killed_worker_and_the_second_delivery(celery, producer):
    """Acknowledged late, so the broker delivers the message again: the next attempt of the job."""
    conf = '{"task_default_queue": "killed", "broker_transport_options": {"visibility_timeout": 2, "polling_interval": 0.1}}'
    sender = celery.producer("killed-producer", APP_CONF=conf)
    first = celery.worker("first", concurrency=1, queues="killed", APP_CONF=conf)
    story = celery.story()
    job = sender.run("send", name="late", args=[3])
    parts.wait_until(lambda: [e for e in story.log if e["what"] == "started"], seconds=10, what="the first delivery")
    first.process.kill()  # every process of it, so that nobody can report anything
    time.sleep(2.2)  # Kombu before 5.7 looks for lost messages when it starts, and then rarely
    second = celery.worker("second", concurrency=1, queues="killed", APP_CONF=conf)
    try:
        story.wait(executed=1, seconds=30)
        (run,) = story.executions
        assert run.job == job
        assert (run["otjobs.job.attempt"], run["otjobs.job.redelivered"], run["otjobs.job.outcome"]) == (
            2,
            True,
            "success",
        )
        assert "otjobs.job.published_at" not in run.attributes
        assert run["otjobs.job.enqueued_at"] == story.dispatches[0]["otjobs.job.enqueued_at"]
        assert run.parent == story.dispatches[0].id
    finally:
        second.stop()
        sender.stop()
