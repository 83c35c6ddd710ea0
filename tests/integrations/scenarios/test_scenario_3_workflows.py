"""Jobs that send jobs, and jobs that belong together."""

from __future__ import annotations

import pytest
from facts import tree, verify

pytestmark = pytest.mark.redis
REQUEST = [["GET /orders/{id}", "SERVER", {"http.route": "/orders/{id}"}]]


def test_children_and_grandchildren(library):
    """Jobs that jobs send are one workflow in one trace"""
    story = library.story()
    library.producer.send("tower", 3)
    story.wait(executed=3)
    verify(story, library)
    assert len({span.trace for span in story.spans}) == 1
    assert tree(story)[-1] == " " * 10 + "execute tower #1 success"


def test_children_are_counted(library):
    """An attempt says how many other jobs it has sent"""
    story = library.story()
    library.producer.send("parent", 3)
    story.wait(executed=4)
    verify(story, library)
    assert story.executions[0]["otjobs.job.dispatched"] == 3


def test_a_job_that_is_sent_twice_counts_once(library):
    """A job that an attempt sends twice under one id is one job"""
    story = library.story()
    job = library.producer.send("send_twice")
    story.wait(executed=2, dispatched=3)
    [parent] = [span for span in story.executions if span.job == job]
    assert parent["otjobs.job.dispatched"] == 1
    assert len({span["otjobs.job.enqueued_at"] for span in story.spans if span.job == f"twice-{job}"}) == 1


def test_the_attempt_that_sent_a_job_is_its_parent(library):
    """A job names the attempt that sent it"""
    story = library.story()
    library.producer.send("fail_at_first_after_a_child", "side", retries=1)
    story.wait(executed=4)
    verify(story, library)
    assert tree(story) == [
        "dispatch fail_at_first_after_a_child",
        "  execute fail_at_first_after_a_child #1 retry Broken",
        "    dispatch add",
        "      execute add #1 success",
        "  execute fail_at_first_after_a_child #2 success",
        "    dispatch add",
        "      execute add #1 success",
    ]


def test_a_child_that_cannot_be_published(library):
    """A job that cannot be published is no child of the attempt that tried"""
    story = library.story()
    job = library.producer.send("send_in_vain")
    story.wait(executed=2, dispatched=3)
    refused = next(event["error"] for event in story.log if event["what"] == "refused")
    assert tree(story) == [
        "dispatch send_in_vain",
        "  execute send_in_vain #1 success",
        "    dispatch add",
        "      execute add #1 success",
        f"    dispatch add ERROR {refused}",
    ]
    [parent] = [span for span in story.executions if span.job == job]
    assert parent["otjobs.job.dispatched"] == 1


def test_a_group(library):
    """A group that is sent outside of any span is one workflow below a span of its own"""
    story = library.story()
    library.producer.run("group", members=[["add", [number]] for number in range(3)])
    story.wait(executed=3, dispatched=3)
    verify(story, library)
    assert tree(story) == ["dispatch group", *["  dispatch add", "    execute add #1 success"] * 3]
    [around] = [span for span in story.spans if not span.operation]
    assert (around.kind, around.parent, around.status) == ("INTERNAL", "", "UNSET")
    assert around.attributes == {"otjobs.workflow.roots": 3}
    assert len({span.trace for span in story.spans}) == 1
    [group] = {span["otjobs.group.id"] for span in story.spans if span.operation}
    assert group


def test_a_group_inside_a_request(library):
    """A group that a request sends is part of the request's trace, and its jobs are roots that the request triggers"""
    story = library.story()
    do = {"run": "group", "members": [["add", [number]] for number in range(2)]}
    library.producer.run("inside", spans=REQUEST, do=do)
    story.wait(executed=2, dispatched=2)
    verify(story, library)
    assert tree(story) == ["GET /orders/{id}", *["  dispatch add", "    execute add #1 success"] * 2]
    assert {span["otjobs.trigger.name"] for span in story.dispatches} == {"/orders/{id}"}
    assert len({span["otjobs.group.id"] for span in story.dispatches}) == 1


def test_a_job_after_another(library):
    """A job that waits for another one is ready once that one has ended: this is no queueing time"""
    story = library.story()
    do = {"run": "after", "first": ["nap", [0.5]], "then": ["add", [1]]}
    first, then = library.producer.run("inside", spans=REQUEST, do=do)
    story.wait(executed=2, dispatched=2)
    before, after = story.executions
    assert (before.job, after.job) == (first, then)
    assert len({span.trace for span in story.spans}) == 1
    finished = next(event["at"] for event in story.log if event["what"] == "ended" and event["job"] == first)
    published = after.get("otjobs.job.published_at", after["otjobs.job.enqueued_at"])
    assert finished <= max(published, after.get("otjobs.job.due_at", 0)) <= after.start


def test_a_callback_of_a_failure(library):
    """A job that the library's callback for a failure sends is a child of the attempt that failed"""
    story = library.story()
    library.producer.send("fail", on_failure="add")
    story.wait(executed=2, dispatched=2)
    assert tree(story) == [
        "dispatch fail",
        "  execute fail #1 failure Broken",
        "    dispatch add",
        "      execute add #1 success",
    ]
    [failed, _] = story.executions
    assert failed["otjobs.job.dispatched"] == 1
