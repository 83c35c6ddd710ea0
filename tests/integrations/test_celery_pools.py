"""Every kind of Celery pool and broker gives the same spans."""

from __future__ import annotations

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
@pytest.mark.parametrize("pool", ["threads", "gevent"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_body_of_a_chord_is_published_at_the_end_of_a_header(celery, producer, pool):
    worker = celery.worker(
        f"pool-{pool}", pool=pool, concurrency=4, queues="pools", APP_CONF='{"task_default_queue": "pools"}'
    )
    try:
        story = celery.story()
        producer.run("apply_canvas", kind="chord")
        story.wait(executed=3, dispatched=3)
        verify(story, cpu=pool != "gevent")
        assert "otjobs: " not in worker.output
    finally:
        worker.stop()


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
