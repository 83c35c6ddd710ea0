"""Fleets where not everybody is instrumented, messages of other makers, headers in any state."""

from __future__ import annotations

import pytest
from truth import verify

A = "conformance_app"


@pytest.fixture(scope="module")
def plain(celery):
    """A producer without tracing."""
    return celery.producer("plain-producer", traced=False)


@pytest.fixture(scope="module")
def producer(celery):
    return celery.producer("mixed-producer")


@pytest.fixture(scope="module")
def worker(celery):
    found = celery.worker("mixed", queues="main")
    yield found
    found.stop()


@pytest.fixture(scope="module")
def plain_worker(celery):
    found = celery.worker("plain", queues="plain", traced=False)
    yield found
    found.stop()


def tree(story):
    return story.tree().replace(f"{A}.", "").splitlines()


@pytest.mark.redis
def test_a_job_of_a_plain_producer_has_a_row_and_no_times_that_nobody_knows(celery, plain, worker):
    story = celery.story()
    plain.run("send", name="parent", args=[1], countdown=0.3, expires=60)
    story.wait(executed=2)
    assert tree(story) == [
        "execute parent #1 success",
        "  dispatch add",
        "    execute add #1 success",
    ]
    root = story.executions[0]
    for name in ("enqueued_at", "published_at", "parent.id"):
        assert f"otjobs.job.{name}" not in root.attributes
    assert {"otjobs.trigger", "otjobs.job.producer", "otjobs.workflow.id"} & set(root.attributes) == set()
    # What Celery's own message says is kept
    assert root["otjobs.job.due_at"] <= root.start
    assert root["otjobs.job.expires_at"] > root.start
    assert root["otjobs.job.max_attempts"] == 4
    child = story.executions[1]
    assert (child["otjobs.job.parent.id"], child["otjobs.workflow.type"]) == (root.job, f"{A}.parent")
    assert "otjobs.workflow.started_at" not in child.attributes
    assert child.trace == root.trace


@pytest.mark.redis
def test_a_retry_by_a_plain_worker_carries_an_older_attempts_times(celery, producer, plain_worker, worker):
    """It copies our header into the message of the next attempt, which a traced worker takes."""
    story = celery.story()
    producer.run("send", name="retry_twice", args=[1], queue="plain", kwargs={"countdown": 0.3, "queue": "main"})
    story.wait(executed=1)
    (run,) = story.executions
    assert run["otjobs.job.attempt"] == 2
    assert run["otjobs.job.enqueued_at"] == story.dispatches[0]["otjobs.job.enqueued_at"]
    assert "otjobs.job.published_at" not in run.attributes
    # The message's own due time counts, not the carrier's
    started = next(e["at"] for e in story.log if e["what"] == "started" and e["retries"] == 0)
    assert run["otjobs.job.due_at"] > started
    assert run.parent == story.dispatches[0].id
    assert (run["messaging.destination.name"], run["otjobs.job.queue"]) == ("main", "plain")


TRACEPARENT = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


@pytest.mark.redis
def test_a_trace_of_someone_else_goes_on(celery, plain, worker):
    story = celery.story()
    plain.run("raw", headers={"traceparent": TRACEPARENT})
    story.wait(executed=1)
    (run,) = story.executions
    assert (run.trace, run.parent) == ("a" * 32, "b" * 16)
    assert "otjobs.job.enqueued_at" not in run.attributes


@pytest.mark.redis
@pytest.mark.parametrize(
    "garbage",
    [
        "text",
        7,
        [],
        {},
        {"traceparent": "nonsense"},
        {"traceparent": 1, "enqueued_at": "soon", "attempt": "many", "parent_id": ["x"], "links": "zz,1"},
        {"type": "x" * 5000},
        {f"key{n}": "x" * 1000 for n in range(100)},
    ],
)
def test_garbage_in_our_header_never_reaches_the_job(celery, plain, worker, garbage):
    story = celery.story()
    job = plain.run("raw", headers={"otjobs": garbage, "otjobs_received_at": "yesterday", "otjobs_passing": garbage})
    story.wait(executed=1)
    (run,) = story.executions
    assert (run.job, run["otjobs.job.type"], run["otjobs.job.outcome"]) == (job, f"{A}.add", "success")
    assert run["messaging.destination.name"] == "main"
    assert [e["error"] for e in story.log if e["what"] == "ended"] == [""]


@pytest.mark.redis
def test_the_users_headers_travel_and_stay_the_users(celery, producer, worker):
    story = celery.story()
    answer = producer.run("headers_reused")
    story.wait(executed=2)
    verify(story)
    assert answer["headers"] == {"mine": "1"}
    assert len({s.trace for s in story.dispatches}) == 2


@pytest.mark.redis
def test_headers_of_a_running_job_given_to_a_child_are_not_its_carrier(celery, producer, worker):
    story = celery.story()
    producer.run("send", name="forwards_headers", headers={"mine": "1"})
    story.wait(executed=2)
    verify(story)
    assert tree(story) == [
        "dispatch forwards_headers",
        "  execute forwards_headers #1 success",
        "    dispatch shows_headers",
        "      execute shows_headers #1 success",
    ]
    assert next(e for e in story.log if e["what"] == "headers")["mine"] == "1"


@pytest.mark.redis
def test_very_large_headers(celery, producer, worker):
    story = celery.story()
    producer.run("send", name="add", args=[1], headers={"large": "x" * 200_000})
    producer.run("with_baggage", values={"large": "y" * 50_000}, do={"run": "send", "name": "add", "args": [1]})
    story.wait(executed=2)
    verify(story)
    assert {s["otjobs.job.outcome"] for s in story.executions} == {"success"}


@pytest.mark.redis
def test_protocol_1(celery, worker):
    old = celery.producer("old-protocol", APP_CONF='{"task_protocol": 1}')
    story = celery.story()
    old.run("send", name="add", args=[1], countdown=0.3)
    old.run("send", name="retry_twice", args=[1])
    story.wait(executed=3)
    verify(story)
    assert tree(story) == [
        "dispatch add",
        "  execute add #1 success",
        "dispatch retry_twice",
        "  execute retry_twice #1 retry Broken",
        "  execute retry_twice #2 success",
    ]
    # What only the main process sees finds the carrier, too
    story = celery.story()
    old.run("send", name="add", args=[1], countdown=0.6, expires=0.3)
    story.wait(executed=1)
    old.stop()
    assert tree(story) == ["dispatch add", "  execute add #1 expired"]
