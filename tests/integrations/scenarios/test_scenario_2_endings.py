"""How an attempt ends, and the next one follows."""

from __future__ import annotations

import parts
import pytest
from facts import ended, tree, verify

pytestmark = pytest.mark.redis


def test_a_retry_is_the_next_attempt(library):
    """A retry at once is the next attempt of the same job, linked to the one before"""
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


def test_a_retry_with_a_backoff(library):
    """The next attempt of a retry with a backoff says when it is due; the backoff is no queueing time"""
    story = library.story()
    library.producer.send("fail_at_first", 1, retries=1, backoff=1)
    story.wait(executed=2)
    verify(story, library)
    assert [span["otjobs.job.outcome"] for span in story.executions] == ["retry", "success"]


def test_retries_that_run_out(library):
    """A job whose retries run out is a failure and a dead letter"""
    story = library.story()
    library.producer.send("fail_at_first", 9, retries=2)
    story.wait(executed=3)
    verify(story, library)
    assert tree(story) == [
        "dispatch fail_at_first",
        "  execute fail_at_first #1 retry Broken",
        "  execute fail_at_first #2 retry Broken",
        "  execute fail_at_first #3 failure Broken dead_letter",
    ]
    assert [span.status for span in story.executions] == ["UNSET", "UNSET", "ERROR"]
    assert story.executions[2]["otjobs.job.max_attempts"] == 3


def test_a_failure_for_good(library):
    """A job that raises ends as a failure with the type of its exception, and nothing else of it"""
    story = library.story()
    library.producer.send("fail")
    story.wait(executed=1)
    verify(story, library)
    assert tree(story) == ["dispatch fail", "  execute fail #1 failure Broken"]
    [run] = story.executions
    assert (run.status, run.events) == ("ERROR", ())


def test_an_expected_failure(library):
    """A failure that the application has declared as expected leaves the status of the span unset"""
    story = library.story()
    library.producer.send("fail_expectedly")
    story.wait(executed=1)
    verify(story, library)
    assert tree(story) == ["dispatch fail_expectedly", "  execute fail_expectedly #1 failure Expected"]
    assert story.executions[0].status == "UNSET"


def test_a_job_that_is_cancelled_before_it_starts(library):
    """A job that is cancelled before it starts has an execute span of no length with the outcome cancelled"""
    story = library.story()
    job = library.producer.send("add", 1, delay=1.5)
    library.producer.run("cancel", job=job)
    story.wait(executed=1)
    assert tree(story)[0] == "dispatch add"
    dispatch, run = story.dispatches[0], story.executions[0]
    assert (run["otjobs.job.outcome"], run["otjobs.job.attempt"], run["otjobs.job.dispatched"]) == ("cancelled", 1, 0)
    assert (run.start, run.parent, run["otjobs.job.enqueued_at"]) == (
        run.end,
        dispatch.id,
        dispatch["otjobs.job.enqueued_at"],
    )
    assert ended(story) == []


def observed(story, library):
    """Return the execute span that another process has written, and compare it with the log."""
    [run] = [span for span in story.executions if span.get("otjobs.job.observed")]
    started = next(event["at"] for event in story.log if event["what"] == "started")
    assert (run.kind, run.parent, run["otjobs.job.attempt"]) == ("CONSUMER", story.dispatches[0].id, 1)
    assert 0 <= started - run.start < parts.BUSY_NS
    assert run.end > started
    assert run["otjobs.worker"].startswith("worker")
    assert "otjobs.job.dispatched" not in run.attributes
    return run


def test_a_running_job_that_is_stopped(library):
    """A running job that is stopped on request is cancelled"""
    story = library.story()
    job = library.producer.send("nap", 60)
    parts.wait_until(lambda: any(event["what"] == "started" for event in story.log), what="the job starts")
    library.producer.run("stop", job=job)
    story.wait(executed=1)
    assert len(story.executions) == 1
    run = observed(story, library)
    assert run["otjobs.job.outcome"] == "cancelled"
    assert run.end - run.start < 60e9


def test_a_hard_time_limit(library):
    """A job that runs into its hard time limit is a failure"""
    story = library.story()
    library.producer.send("nap", 60, limit=1)
    story.wait(executed=1)
    [run] = story.executions
    error_type, by_another = library.library.timed_out
    assert (run["otjobs.job.outcome"], run["error.type"], run.status) == ("failure", error_type, "ERROR")
    assert run.get("otjobs.job.observed", False) is by_another
    assert 1e9 <= run.end - run.start < 60e9
    if by_another:
        observed(story, library)
    else:
        verify(story, library)


def test_a_job_whose_process_dies(library):
    """A job whose process dies is lost, and another process reports it"""
    story = library.story()
    library.producer.send("die")
    story.wait(executed=1)
    assert len(story.executions) == 1
    run = observed(story, library)
    assert (run["otjobs.job.outcome"], run["error.type"], run.status) == ("lost", library.library.died, "ERROR")


def test_a_job_whose_process_dies_and_that_runs_again(library):
    """An attempt whose process dies and whose job runs again is a retry"""
    story = library.story()
    library.producer.send("die_at_first", retries=1)
    story.wait(executed=2)
    died = library.library.died
    again = " redelivered" if library.library.redelivers else ""
    assert tree(story) == [
        "dispatch die_at_first",
        f"  execute die_at_first #1 retry {died} observed",
        f"  execute die_at_first #2 success{again}",
    ]
    first = observed(story, library)
    second = story.executions[1]
    # A message that goes back to the queue is what it was; nobody has published it again
    assert ("otjobs.job.published_at" in second.attributes) is not library.library.redelivers
    assert second.start >= first.start
    assert first.status == "UNSET"
