"""Fleets where not everybody is instrumented."""

from __future__ import annotations

import parts
import pytest
from facts import ended, tree

pytestmark = pytest.mark.redis


def test_a_job_of_a_plain_producer(library):
    """A job of an un-instrumented producer has its attempt, and no times that nobody knows"""
    story = library.story()
    job = library.plain_producer.send("parent", 1)
    story.wait(executed=2)
    assert tree(story) == ["execute parent #1 success", "  dispatch add", "    execute add #1 success"]
    root, child = story.executions
    assert (root.job, root["messaging.destination.name"], root["otjobs.job.dispatched"]) == (job, "main", 1)
    unknown = {"otjobs.job.enqueued_at", "otjobs.job.published_at", "otjobs.job.parent.id", "otjobs.trigger"}
    assert (unknown | {"otjobs.job.producer", "otjobs.workflow.id"}) & set(root.attributes) == set()
    assert (child["otjobs.job.parent.id"], child["otjobs.workflow.type"]) == (job, "application.jobs.parent")
    assert "otjobs.workflow.started_at" not in child.attributes
    assert child.trace == root.trace


def test_the_retries_of_a_job_of_a_plain_producer(library):
    """The retries of such a job stay together and repeat its first start"""
    story = library.story()
    library.plain_producer.send("fail_at_first", 2, retries=2)
    story.wait(executed=3)
    first, second, third = story.executions
    assert [span["otjobs.job.attempt"] for span in story.executions] == [1, 2, 3]
    assert [span["otjobs.job.outcome"] for span in story.executions] == ["retry", "retry", "success"]
    assert {span["otjobs.job.first_started_at"] for span in (second, third)} == {first.start}
    assert "otjobs.job.first_started_at" not in first.attributes
    assert second["otjobs.job.published_at"] > first.start
    assert len({span.trace for span in story.executions}) == 1
    assert (second.links[-1], third.links[-1]) == ((first.trace, first.id), (second.trace, second.id))


def test_a_plain_worker(library):
    """An un-instrumented worker runs the jobs of an instrumented producer, and their retries"""
    library.plain_worker  # noqa: B018
    story = library.story()
    library.producer.send("fail_at_first", 2, retries=2, queue="plain")
    parts.wait_until(lambda: len(ended(story)) == 3, what="three attempts on the plain worker")
    assert tree(story) == ["dispatch fail_at_first"]
    assert [event["error"] for event in ended(story)] == ["Broken", "Broken", ""]


def test_the_children_of_a_job_on_a_plain_worker(library):
    """A job that an un-instrumented worker sends is one of an unknown producer"""
    library.plain_worker  # noqa: B018
    story = library.story()
    library.producer.send("parent", 1, queue="plain")
    story.wait(executed=1)
    assert tree(story) == ["dispatch parent", "execute add #1 success"]
    [child] = story.executions
    # No parent is named that the child's own workflow would wait for in vain
    assert "otjobs.job.parent.id" not in child.attributes
    assert child.trace != story.dispatches[0].trace
