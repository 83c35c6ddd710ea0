"""Celery's inline runs: dispatch and execute spans around them, with the configured queue."""

from __future__ import annotations

import socket

import parts
import pytest

A = "conformance_app"


@pytest.fixture(scope="module")
def producer(celery):
    return celery.producer("eager-producer")


def done(story, runs):
    story.wait(executed=runs)
    return story


def tree(story):
    return story.tree().replace(f"{A}.", "").splitlines()


@pytest.mark.redis
@pytest.mark.parametrize("always", [True, False])
def test_an_inline_run_is_a_job(celery, producer, always):
    story = celery.story()
    producer.run("eager", name="routed", always=always)
    done(story, 1)
    assert tree(story) == ["dispatch routed", "  execute routed #1 success"]
    dispatch, run = story.dispatches[0], story.executions[0]
    assert dispatch["messaging.destination.name"] == run["messaging.destination.name"] == "side"
    # No worker of the library is there, so the process is named; the same service, so no producer
    host, pid = run["otjobs.worker"].rsplit(":", 1)
    assert (host, pid.isdigit()) == (socket.gethostname(), True)
    assert "otjobs.job.producer" not in run.attributes
    assert dispatch["otjobs.trigger"] == "manual"
    assert dispatch.end <= run.start


@pytest.mark.redis
@pytest.mark.parametrize("always", [True, False])
def test_inline_retries_are_attempts_of_one_job(celery, producer, always):
    story = celery.story()
    producer.run("eager", name="retry_twice", always=always)
    done(story, 3)
    assert tree(story) == [
        "dispatch retry_twice",
        "  execute retry_twice #1 retry Broken",
        "  execute retry_twice #2 retry Broken",
        "  execute retry_twice #3 success",
    ]
    first, second, third = story.executions
    assert second.links[1] == (first.trace, first.id)
    assert third.links[1] == (second.trace, second.id)


@pytest.mark.redis
def test_inline_retries_run_out(celery, producer):
    story = celery.story()
    producer.run("eager", name="retry_twice", args=[9])
    done(story, 3)
    assert tree(story)[-1] == "  execute retry_twice #3 failure Broken dead_letter"


@pytest.mark.redis
@pytest.mark.parametrize(
    ("name", "propagate", "answer", "line"),
    [
        # Celery runs an inline retry only where it gets the exception itself.
        ("retry_quietly", False, "", "  execute retry_quietly #1 success"),
        ("retry_twice", True, "raised Retry", "  execute retry_twice #1 failure Broken"),
    ],
)
def test_an_inline_retry_that_is_not_run(celery, producer, name, propagate, answer, line):
    story = celery.story()
    assert producer.run("eager", name=name, propagate=propagate).startswith(answer)
    done(story, 1)
    assert tree(story) == [f"dispatch {name}", line]


@pytest.mark.redis
@pytest.mark.parametrize(
    ("name", "error", "status"), [("fail", "Broken", "ERROR"), ("fail_expected", "Expected", "UNSET")]
)
@pytest.mark.parametrize("propagate", [True, False])
def test_an_inline_failure(celery, producer, name, error, status, propagate):
    story = celery.story()
    answer = producer.run("eager", name=name, propagate=propagate)
    done(story, 1)
    assert answer.startswith("raised") == propagate
    assert tree(story)[-1] == f"  execute {name} #1 failure {error}"
    assert story.executions[0].status == status


@pytest.mark.redis
def test_nested_inline_runs_are_children(celery, producer):
    story = celery.story()
    producer.run("eager", name="tower", args=[3], always=True)
    done(story, 3)
    assert tree(story) == [
        "dispatch tower",
        "  execute tower #1 success",
        "    dispatch tower",
        "      execute tower #1 success",
        "        dispatch tower",
        "          execute tower #1 success",
    ]
    assert [s["otjobs.job.dispatched"] for s in story.executions] == [1, 1, 0]


@pytest.mark.redis
def test_an_inline_replacement_is_the_next_attempt(celery, producer):
    story = celery.story()
    producer.run("eager", name="replaced", args=["task"])  # with task_always_eager, Celery refuses
    done(story, 2)
    assert tree(story) == ["dispatch replaced", "  execute replaced #1 retry", "  execute replaced #2 success"]


@pytest.mark.redis
@pytest.mark.parametrize("always", [True, False])
@pytest.mark.parametrize(
    ("kind", "word", "roots"), [("group", "group", 3), ("chain", "chain", 3), ("chord", "chord", 3)]
)
def test_inline_canvases_are_one_workflow(celery, producer, kind, word, roots, always):
    """The caller itself publishes every step, so all are roots."""
    story = celery.story()
    if always:
        producer.run("eager", name="add", always=True, canvas=kind)
    else:
        producer.run("apply_canvas", kind=kind, eager=True)
    done(story, 3)
    parts.wait_until(lambda: len(story.spans) >= 7, seconds=90, what="the span around it")
    assert tree(story) == [f"dispatch {word}", *["  dispatch add", "    execute add #1 success"] * 3]
    assert {s["otjobs.workflow.roots"] for s in story.dispatches} == {roots}
    assert len({s.trace for s in story.spans}) == 1


@pytest.mark.redis
def test_a_plain_call_is_no_job(celery, producer):
    story = celery.story()
    producer.run("plain_call", name="add", args=[1, 2])
    producer.run("eager", name="add", args=[1])
    done(story, 1)
    assert tree(story) == ["dispatch add", "  execute add #1 success"]


@pytest.mark.redis
def test_an_inline_run_inside_a_real_job(celery, producer):
    worker = celery.worker("inline", pool="solo", queues="inline")
    story = celery.story()
    producer.run("send", name="runs_inline", queue="inline")
    done(story, 2)
    worker.stop()
    assert tree(story) == [
        "dispatch runs_inline",
        "  execute runs_inline #1 success",
        "    dispatch add",
        "      execute add #1 success",
    ]
    assert story.executions[0]["otjobs.job.dispatched"] == 1
