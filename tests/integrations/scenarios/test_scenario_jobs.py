"""Single jobs: how they are sent, and how they end."""

from __future__ import annotations

import pytest
from facts import J, tree, verify

pytestmark = pytest.mark.redis


def test_a_job_is_two_spans(library):
    """A job leaves a dispatch span and an execute span below it."""
    library.worker
    story = library.story()
    job = library.producer.send("add", 1, 2)
    story.wait(executed=1)
    verify(story, library)
    assert tree(story) == ["dispatch add", "  execute add #1 success"]
    dispatch, run = story.dispatches[0], story.executions[0]
    assert dispatch.job == run.job == job
    assert (dispatch["otjobs.trigger"], dispatch["otjobs.trigger.name"]) == ("manual", "")
    assert run["otjobs.job.producer"] == "producer"
    assert (dispatch.resource["service.name"], run.resource["service.name"]) == ("producer", "worker")
    assert dispatch.scope == run.scope == "otjobs"


def test_a_retry_is_the_next_attempt(library):
    """A retry at once is the next attempt of the same job, linked to the one before."""
    library.worker
    story = library.story()
    library.producer.send("fail_at_first", 1, retries=2)
    story.wait(executed=2)
    verify(story, library)
    assert tree(story) == [
        "dispatch fail_at_first",
        "  execute fail_at_first #1 retry Broken",
        "  execute fail_at_first #2 success",
    ]
    assert [span.status for span in story.executions] == ["UNSET", "UNSET"]


def test_a_failure_for_good(library):
    """A job that raises ends as a failure with the type of its exception, and nothing else of it."""
    library.worker
    story = library.story()
    library.producer.send("fail")
    story.wait(executed=1)
    verify(story, library)
    assert tree(story) == ["dispatch fail", "  execute fail #1 failure Broken"]
    [run] = story.executions
    assert (run.status, run.events) == ("ERROR", ())
    assert run["otjobs.job.type"] == f"{J}fail"
