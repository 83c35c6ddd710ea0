"""Celery on RabbitMQ: queues have the application's names, delayed, routed and broadcast; N runs of one message."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from celery_harness import CeleryHarness
from truth import verify

pytestmark = [pytest.mark.rabbitmq, pytest.mark.redis, pytest.mark.slow]

A = "conformance_app"
QUORUM = {
    "task_queues": None,
    "task_routes": None,
    "task_default_queue": "mails",
    "task_default_queue_type": "quorum",
    "task_default_exchange": "letters",
    "task_default_exchange_type": "topic",
    "task_default_routing_key": "mails.key",
    "broker_transport_options": {"confirm_publish": True},
    "worker_detect_quorum_queues": True,
}


@pytest.fixture(scope="module")
def on_rabbitmq(tmp_path_factory, receiver, rabbitmq_url, redis_url):
    found = CeleryHarness(tmp_path_factory.mktemp("celery-rabbitmq"), receiver, rabbitmq_url, backend=redis_url)
    yield found
    found.stop()


@pytest.fixture(scope="module")
def quorum(on_rabbitmq):
    """A worker and a producer of a quorum queue, whose delayed messages go through kombu's native delayed delivery."""
    settings = {"APP_CONF": json.dumps(QUORUM)}
    worker = on_rabbitmq.worker("quorum", queues="mails", concurrency=1, **settings)
    yield worker, on_rabbitmq.producer("quorum-producer", **settings)
    worker.stop(30)


@pytest.mark.parametrize("countdown", [None, 1, 2, 3])
def test_a_delayed_job_is_in_the_queue_that_it_was_sent_to(on_rabbitmq, quorum, countdown):
    worker, producer = quorum
    story = on_rabbitmq.story()
    producer.run("send", name="add", args=[1, 2], countdown=countdown)
    story.wait(executed=1, seconds=40)
    verify(story)
    assert "otjobs: " not in worker.output + producer.output
    assert {(s["messaging.destination.name"], s.get("otjobs.job.queue")) for s in story.spans} == {("mails", None)}


def test_retries_with_a_delay_stay_in_their_queue(on_rabbitmq, quorum):
    worker, producer = quorum
    story = on_rabbitmq.story()
    producer.run("send", name="retry_twice", kwargs={"countdown": 1})
    story.wait(executed=3, seconds=60)
    verify(story)
    assert "otjobs: " not in worker.output + producer.output
    assert [s["otjobs.job.attempt"] for s in story.executions] == [1, 2, 3]
    assert {(s["messaging.destination.name"], s.get("otjobs.job.queue")) for s in story.spans} == {("mails", None)}


def test_a_topic_routes_to_the_queue_by_its_pattern(on_rabbitmq):
    worker = on_rabbitmq.worker("topics", queues="media,topical", concurrency=1)
    producer = on_rabbitmq.producer("topics-producer")
    story = on_rabbitmq.story()
    producer.run("send", name="add", args=[1], exchange="topical", routing_key="news.of.today")
    producer.run("send", name="add", args=[1], exchange="media", routing_key="video")
    story.wait(executed=2, seconds=40)
    worker.stop(30)
    verify(story)
    assert "otjobs: " not in worker.output + producer.output
    found = Counter((s.operation, s["messaging.destination.name"], s.get("otjobs.job.queue")) for s in story.spans)
    assert found == {(what, queue, None): 1 for what in ("dispatch", "execute") for queue in ("topical", "media")}


def test_a_broadcast_is_one_job_that_every_worker_runs(on_rabbitmq):
    """Each run is attempt 1 of the same job, told apart by its worker; none of them is a redelivery."""
    workers = [on_rabbitmq.start_worker(f"cast-{n}", queues="everyone", pool="solo") for n in range(3)]
    for worker in workers:
        on_rabbitmq.wait_ready(worker)
    producer = on_rabbitmq.producer("broadcaster")
    story = on_rabbitmq.story()
    job = producer.run("send", name="add", args=[1], queue="everyone")
    story.wait(executed=3, dispatched=1, seconds=60)
    for worker in workers:
        worker.stop(30)
    assert all("otjobs: " not in one.output for one in (*workers, producer))
    [dispatch] = story.dispatches
    assert {s.job for s in story.spans} == {job}
    assert {(s["messaging.destination.name"], s.get("otjobs.job.queue")) for s in story.spans} == {("everyone", None)}
    assert {
        (s["otjobs.job.attempt"], s["otjobs.job.outcome"], s.get("otjobs.job.redelivered")) for s in story.executions
    } == {(1, "success", None)}
    assert {s["otjobs.worker"].partition("@")[0] for s in story.executions} == {f"cast-{n}" for n in range(3)}
    assert {s.parent for s in story.executions} == {dispatch.id}
