"""Celery publications that fail: the span says so, does not stay current, and the exception reaches the user."""

from __future__ import annotations

import parts
import pytest
import redis

A = "conformance_app"


@pytest.fixture(scope="module")
def producer(celery):
    return celery.producer("failing-producer", APP_CONF='{"task_default_queue": "nobody"}')


def sent(story, count=1):
    parts.wait_until(lambda: len(story.dispatches) >= count, seconds=90, what=f"{count} dispatch spans")
    return story.dispatches


REFUSED = "redis://127.0.0.1:1/0"


@pytest.mark.redis
@pytest.mark.parametrize("retry", [True, False])
def test_a_broker_that_is_down(celery, producer, retry):
    story = celery.story()
    policy = {"max_retries": 2, "interval_start": 0.1, "interval_step": 0, "interval_max": 0.1}
    answer = producer.run("failing", broker=REFUSED, retry=retry, retry_policy=policy)
    (span,) = sent(story)
    # Celery's own error, as without tracing
    assert answer == {"raised": "kombu.exceptions.OperationalError", "current_unchanged": True}
    assert (span.status, span["error.type"]) == ("ERROR", "OperationalError")
    assert span["otjobs.job.type"] == f"{A}.add"
    assert span["messaging.destination.name"] == "nobody"
    assert span["messaging.message.id"]
    if retry:  # the retries of the publish are inside the one span
        assert span.end - span.start > 150_000_000


@pytest.mark.redis
def test_a_result_backend_that_is_down_fails_before_there_is_a_message(celery, producer):
    story = celery.story()
    answer = producer.run("failing_backend", task_id="known-before")
    (span,) = sent(story)
    assert answer == {"raised": "OperationalError", "current_unchanged": True}
    assert (span.status, span["error.type"]) == ("ERROR", "OperationalError")
    assert (span["otjobs.job.type"], span["messaging.destination.name"]) == ("routed", "side")
    assert span["messaging.message.id"] == "known-before"
    assert span["otjobs.trigger"] == "manual"


@pytest.mark.redis
def test_the_id_of_a_job_that_failed_early_is_the_one_it_would_have_had(celery, producer):
    story = celery.story()
    producer.run("failing_backend")
    (span,) = sent(story)
    assert len(span["messaging.message.id"]) == 36


@pytest.mark.redis
def test_a_group_that_breaks_in_the_middle(celery, producer):
    story = celery.story()
    answer = producer.run("failing_canvas")
    sent(story, 2)
    parts.wait_until(lambda: len(story.spans) >= 3, seconds=90, what="the span around the group")
    assert answer == {"raised": "EncodeError", "current": False}
    assert story.tree() == "\n".join(
        ["dispatch group ERROR", f"  dispatch {A}.add", f"  dispatch {A}.add ERROR EncodeError"]
    )


@pytest.mark.redis
def test_inside_a_request_the_request_stays_current(celery, producer):
    story = celery.story()
    answer = producer.run(
        "inside",
        spans=[["POST /buy", "SERVER", {}, {"http.route": "/buy"}]],
        do={"run": "failing", "args": "unserialisable"},
    )
    (span,) = sent(story)
    assert answer["current_unchanged"]
    assert (span["otjobs.trigger"], span["otjobs.trigger.name"]) == ("request", "/buy")


@pytest.mark.redis
def test_a_lazy_group_whose_generator_breaks(celery, producer, redis_url):
    """Its exception reaches the caller, after as many members were published as without tracing."""
    plain = celery.producer("plain-generator", traced=False, APP_CONF='{"task_default_queue": "nobody"}')
    with redis.Redis.from_url(redis_url) as broker:
        before = broker.llen("nobody")
        assert plain.run("broken_generator") == "raised ZeroDivisionError"
        plain.stop()
        published = broker.llen("nobody") - before
    assert published == 1  # Celery asks for a member ahead of the one it publishes
    story = celery.story()
    assert producer.run("broken_generator") == "raised ZeroDivisionError"
    producer.run("send", name="add", args=[1])
    sent(story, published + 1)
    assert len(story.dispatches) == published + 1


@pytest.mark.redis
def test_a_retry_that_cannot_be_published_is_rejected(celery, receiver, redis_url, tmp_path):
    """Celery turns it into a rejection: the job is over."""
    worker = celery.worker("refused", concurrency=1, queues="refused")
    story = celery.story()
    sender = celery.producer("refused-producer")
    sender.run("send", name="retry_in_vain", queue="refused")
    story.wait(executed=1)
    worker.stop()
    sender.stop()
    (run,) = story.executions
    assert (run["otjobs.job.outcome"], run["error.type"]) == ("rejected", "Reject")
    assert run["otjobs.job.dead_letter"] is True
    assert len(story.dispatches) == 1
