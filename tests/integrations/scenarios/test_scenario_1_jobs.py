"""Single jobs: how they are sent, and when they are ready."""

from __future__ import annotations

import pytest
from facts import ended, tree, verify

pytestmark = pytest.mark.redis


def test_a_job_is_two_spans(library):
    """A job leaves a dispatch span and an execute span below it"""
    story = library.story()
    job = library.producer.send("add", 1, 2)
    story.wait(executed=1)
    verify(story, library)
    assert tree(story) == ["dispatch add", "  execute add #1 success"]
    dispatch, run = story.dispatches[0], story.executions[0]
    assert dispatch.job == run.job == job
    known = {"messaging.system", "messaging.operation.type", "messaging.operation.name", "messaging.destination.name"}
    known |= {
        "messaging.message.id",
        "otjobs.job.type",
        "otjobs.job.enqueued_at",
        "otjobs.trigger",
        "otjobs.trigger.name",
    }
    assert set(dispatch.attributes) - {"otjobs.job.max_attempts"} == known
    known |= {
        "otjobs.job.attempt",
        "otjobs.job.outcome",
        "otjobs.job.dispatched",
        "otjobs.job.producer",
        "otjobs.worker",
    }
    assert set(run.attributes) - {"otjobs.job.max_attempts", "otjobs.job.received_at"} == known | {
        "otjobs.job.cpu_seconds"
    }
    assert (dispatch["otjobs.trigger"], dispatch["otjobs.trigger.name"]) == ("manual", "")
    assert run["otjobs.job.producer"] == "producer"
    assert (dispatch.resource["service.name"], run.resource["service.name"]) == ("producer", "worker")
    assert dispatch.scope == run.scope == "otjobs"


def test_the_queue_and_a_priority(library):
    """A job is in the queue that the application chose, whatever its priority"""
    story = library.story()
    library.producer.send("add", 1, queue="side", priority=3)
    library.producer.send("add", 1, queue="main", priority=1)
    story.wait(executed=2)
    verify(story, library)
    assert sorted(span["messaging.destination.name"] for span in story.executions) == ["main", "side"]
    assert not [span for span in story.spans if "otjobs.job.queue" in span.attributes]


def test_a_delayed_job(library):
    """A delayed job says when it is due, and its delay is no queueing time"""
    story = library.story()
    library.producer.send("add", 1, delay=1)
    story.wait(executed=1)
    verify(story, library)
    assert tree(story) == ["dispatch add", "  execute add #1 success"]
    assert "otjobs.job.due_at" in story.executions[0].attributes


def test_a_job_that_may_expire(library):
    """A job that may expire says when"""
    story = library.story()
    library.producer.send("add", 1, expires=60)
    story.wait(executed=1)
    verify(story, library)
    assert "otjobs.job.expires_at" in story.executions[0].attributes


def test_a_job_that_expires_before_it_starts(library):
    """A job that expires before it starts has an execute span of no length with the outcome expired"""
    story = library.story()
    library.producer.send("add", 1, delay=1.2, expires=0.6)
    story.wait(executed=1)
    assert tree(story) == ["dispatch add", "  execute add #1 expired"]
    dispatch, run = story.dispatches[0], story.executions[0]
    assert run.start == run.end > dispatch["otjobs.job.expires_at"] == run["otjobs.job.expires_at"]
    assert (run.parent, run["otjobs.job.dispatched"]) == (dispatch.id, 0)
    assert ended(story) == []


def test_a_publish_that_fails(library):
    """A publish that fails leaves a dispatch span with its error, and the exception reaches the application as it is"""
    for number, how in enumerate(({"broker": "redis://127.0.0.1:1/0"}, {"unserialisable": True})):
        story = library.story()
        answer = library.producer.run("fail_to_send", job_id=f"{library.name}-vain-{number}", **how)
        library.producer.send("add", 1)
        story.wait(executed=1, dispatched=2)
        failed, following = story.dispatches
        assert (failed.status, failed["error.type"], failed["otjobs.job.type"]) == (
            "ERROR",
            answer["raised"],
            "application.jobs.add",
        )
        assert failed["messaging.destination.name"] == "main"
        assert answer["raised"]
        assert answer["current_unchanged"]
        # It is not the parent of the next
        assert (following.parent, following.trace != failed.trace) == ("", True)


def test_immediate_mode(library):
    """A run in the process that sends it, in the library's immediate mode, is a job"""
    story = library.story()
    library.producer.send("parent", 1, inline=True, queue="side")
    story.wait(executed=2)
    assert tree(story) == [
        "dispatch parent",
        "  execute parent #1 success",
        "    dispatch add",
        "      execute add #1 success",
    ]
    [dispatch, _], [run, _] = story.dispatches, story.executions
    assert (dispatch["messaging.destination.name"], run["messaging.destination.name"]) == ("side", "side")
    assert run.resource["service.name"] == "producer"
    assert "otjobs.job.producer" not in run.attributes
    assert (run["otjobs.job.dispatched"], dispatch["otjobs.trigger"]) == (1, "manual")
    assert dispatch.end <= run.start


def test_retries_in_immediate_mode(library):
    """Retries in immediate mode are attempts of one job"""
    story = library.story()
    library.producer.send("fail_at_first", 1, inline=True, retries=2)
    story.wait(executed=2)
    assert tree(story) == [
        "dispatch fail_at_first",
        "  execute fail_at_first #1 retry Broken",
        "  execute fail_at_first #2 success",
    ]
    first, second = story.executions
    assert second.links[1] == (first.trace, first.id)
