"""What triggers a job, what it carries, and the settings."""

from __future__ import annotations

import parts
import pytest
from facts import ended, tree, verify

pytestmark = pytest.mark.redis


def test_a_request_is_the_trigger(library):
    """A job that a request sends has the request's route as its trigger, and is part of its trace"""
    story = library.story()
    spans = [["GET /orders/{id}", "SERVER", {"http.route": "/orders/{id}"}], ["view", "INTERNAL", {}]]
    library.producer.run("inside", spans=spans, do={"run": "send", "job": "add", "args": [1]})
    story.wait(executed=1)
    verify(story, library)
    assert tree(story)[-2:] == ["    dispatch add", "      execute add #1 success"]
    for span in (*story.dispatches, *story.executions):
        assert (span["otjobs.trigger"], span["otjobs.trigger.name"]) == ("request", "/orders/{id}")


def test_a_schedule_is_the_trigger(library):
    """A job that the library's scheduler sends has its entry as the trigger"""
    story = library.story()
    scheduler = library.start_scheduler("scheduler", "nightly", "parent")
    try:
        story.wait(executed=2, quiet=0)
    finally:
        scheduler.stop()
    roots = [span for span in story.dispatches if span["otjobs.job.type"] == "application.jobs.parent"]
    assert {(span["otjobs.trigger"], span["otjobs.trigger.name"], span.parent) for span in roots} == {
        ("schedule", "nightly", "")
    }
    assert {span.resource["service.name"] for span in roots} == {"scheduler"}
    assert len({span.trace for span in roots}) == len(roots)
    child = next(span for span in story.executions if span["otjobs.job.type"] == "application.jobs.add")
    assert "otjobs.trigger" not in child.attributes
    assert child["otjobs.job.parent.type"] == "application.jobs.parent"


def test_labels_are_inherited(library):
    """Labels are on every span of the job and of the jobs below it"""
    story = library.story()
    do = {"run": "send", "job": "tower", "args": [2]}
    library.producer.run("with_labels", values={"feature": "x"}, do=do)
    story.wait(executed=2)
    verify(story, library)
    assert [span["otjobs.label.feature"] for span in story.spans] == ["x"] * 4


def test_baggage_travels(library):
    """Baggage reaches the job, its retries and the jobs below it; the keys that the settings name become labels"""
    story = library.story()
    do = {"run": "send", "job": "tell_baggage", "args": [2], "retries": 1}
    library.producer.run("with_baggage", values={"tenant": "acme", "secret": "s"}, do=do)
    story.wait(executed=3)
    verify(story, library)
    assert [event["baggage"] for event in story.log if event["what"] == "baggage"] == [
        {"tenant": "acme", "secret": "s"}
    ] * 3
    assert [span["otjobs.label.tenant"] for span in story.spans] == ["acme"] * 5
    assert not [span for span in story.spans if "otjobs.label.secret" in span.attributes]


def test_jobs_that_are_not_sampled(library):
    """Jobs of a trace that is not sampled run as ever and leave no spans"""
    story = library.story()
    library.producer.run("unsampled", do={"run": "send", "job": "parent", "args": [1]})
    library.producer.run("unsampled", do={"run": "send", "job": "fail_at_first", "args": [1], "retries": 1})
    parts.wait_until(lambda: len(ended(story)) == 4, what="the jobs")
    library.producer.send("add", 1)
    story.wait(executed=1)
    assert tree(story) == ["dispatch add", "  execute add #1 success"]


def test_an_excluded_type_is_left_out(library):
    """A job type that the settings exclude leaves no spans, and the jobs below it keep their place"""
    story = library.story()
    do = {"run": "send", "job": "above_hidden", "args": [2]}
    library.producer.run("with_labels", values={"feature": "x"}, do=do)
    story.wait(executed=2)
    assert tree(story) == [
        "dispatch above_hidden",
        "  execute above_hidden #1 success",
        "    dispatch add",
        "      execute add #1 success",
    ]
    top, bottom = story.dispatches
    assert (bottom["otjobs.job.parent.id"], bottom["otjobs.label.feature"]) == (top.job, "x")
    assert bottom["otjobs.workflow.type"] == "application.jobs.above_hidden"
    assert bottom["otjobs.workflow.started_at"] == top["otjobs.job.enqueued_at"]
    assert story.executions[0]["otjobs.job.dispatched"] == 0

    # An excluded root hands on its trigger and trace
    story = library.story()
    spans = [["GET /x", "SERVER", {"http.route": "/x"}]]
    library.producer.run("inside", spans=spans, do={"run": "send", "job": "hidden", "args": [1]})
    story.wait(executed=1)
    assert tree(story) == ["GET /x", "  dispatch add", "    execute add #1 success"]
    [root] = story.dispatches
    assert (root["otjobs.trigger"], root["otjobs.trigger.name"]) == ("request", "/x")
    assert "otjobs.job.parent.id" not in root.attributes


def test_link_mode(library):
    """In link mode each attempt has a trace of its own, linked to the dispatch and to the attempt before"""
    settings = {"OTEL_PYTHON_OTJOBS_PROPAGATION": "link"}
    worker = library.start_worker("linked", queues=["linked"], **settings)
    producer = library.start_producer("linked-producer", **settings)
    story = library.story()
    producer.run(
        "inside",
        spans=[["GET /x", "SERVER", {"http.route": "/x"}]],
        do={"run": "send", "job": "fail_at_first_after_a_child", "args": ["linked"], "queue": "linked", "retries": 1},
    )
    story.wait(executed=4, dispatched=3)
    worker.stop()
    producer.stop()
    request = next(span for span in story.spans if not span.operation)
    root, *children = story.dispatches
    assert (root.trace, root.parent) == (request.trace, request.id)
    assert "otjobs.workflow.id" not in root.attributes
    attempts = [span for span in story.executions if span.job == root.job]
    assert [span.parent for span in story.executions] == [""] * 4
    assert len({span.trace for span in story.executions} | {request.trace}) == 5
    assert {span["otjobs.workflow.id"] for span in story.executions} == {request.trace}
    assert [span.links[0] for span in attempts] == [(root.trace, root.id)] * 2
    assert attempts[1].links[1] == (attempts[0].trace, attempts[0].id)
    for child, attempt in zip(children, attempts, strict=True):
        assert (child.trace, child.parent) == (attempt.trace, attempt.id)
        assert child["otjobs.workflow.id"] == request.trace
        [run] = [span for span in story.executions if span.job == child.job]
        assert run.links[0] == (child.trace, child.id)
        assert run["otjobs.workflow.type"] == "application.jobs.fail_at_first_after_a_child"
