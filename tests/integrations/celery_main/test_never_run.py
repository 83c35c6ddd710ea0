"""Messages that Celery takes and ends without running the task, and without a signal."""

from __future__ import annotations

import json

import pytest
import redis
from celery_main_harness import Yard, brief, stop

pytestmark = [pytest.mark.redis, pytest.mark.slow]

CONF = {"worker_deduplicate_successful_tasks": True, "task_acks_late": True}


@pytest.fixture(scope="module", params=["prefork", "threads"])
def ended(request, tmp_path_factory, collector, redis_url):
    yard = Yard(tmp_path_factory.mktemp("never"), collector, redis_url)
    try:
        client = redis.Redis.from_url(redis_url)
        yard.produce("quick.apply_async(task_id='twice')\nquick.apply_async(task_id='no-arguments')\n", conf=CONF)
        newest, oldest = (json.loads(raw) for raw in client.lrange(yard.queue, 0, -1))
        assert oldest["headers"]["id"] == "twice"
        broken = {**newest, "body": "W1tdLCBbXSwge31d"}  # [[], [], {}]: keyword arguments that are a list
        client.delete(yard.queue)
        client.lpush(yard.queue, json.dumps(oldest), json.dumps(broken))
        worker = yard.worker(pool=request.param, concurrency=1, conf=CONF)
        yard.wait_for("ended", job="twice")
        yard.wait_for_executions(1, "twice")
        # The broker delivers once more what had succeeded, as when a worker dies before it could acknowledge.
        again = {**oldest, "headers": {**oldest["headers"], "redelivered": True}}
        again["properties"] = {**oldest["properties"], "delivery_tag": "another"}
        again["properties"]["delivery_info"] = {**oldest["properties"]["delivery_info"], "redelivered": True}
        client.lpush(yard.queue, json.dumps(again))
        yard.wait_for_executions(2, "twice")
        yard.wait_for_executions(1, "no-arguments")
        stop(worker)
        yield yard
    finally:
        yard.stop()


def test_a_job_that_had_succeeded_is_not_run_again_and_has_ended(ended):
    assert len(ended.seen("started", "twice")) == 1
    first, second = ended.executions("twice")
    assert brief(first) == ("success", "", False)
    assert (second["otjobs.job.attempt"], second["otjobs.job.outcome"]) == (2, "success")
    assert second["otjobs.job.redelivered"] is True
    assert (second.trace, second.parent) == (first.trace, first.parent)


def test_arguments_that_are_none_are_a_rejection(ended):
    assert ended.seen("started", "no-arguments") == []
    [span] = ended.executions("no-arguments")
    assert brief(span) == ("rejected", "InvalidTaskError", False)
    assert span["otjobs.job.dead_letter"] is True
    assert span.start == span.end
