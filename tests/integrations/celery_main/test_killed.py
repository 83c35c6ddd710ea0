"""Killed children: one execute span that counts, written by the main process, with the outcome of the readings."""

from __future__ import annotations

import parts
import pytest
from celery_main_harness import brief, counting

pytestmark = [pytest.mark.redis, pytest.mark.slow]


# task -> (its outcomes by attempt, as the spans must say them)
KILLED = {
    "exits": [("lost", "WorkerLostError", True)],
    "killed": [("lost", "WorkerLostError", True)],
    "leaves": [("failure", "SystemExit", True)],
    "overtime": [("failure", "TimeLimitExceeded", True)],
    "overtime_again": [("retry", "TimeLimitExceeded", True), ("success", "", False)],
    "exits_once": [("retry", "WorkerLostError", True), ("success", "", False)],
    "exits_for_good": [("lost", "WorkerLostError", True)],
    "exits_and_retries": [("retry", "WorkerLostError", True), ("success", "", False)],
}


# Celery announces a hard time limit twice, and publishes the error callback even where the job runs again. Of a chord it
# names the body.
COMPLAINED = {"exits", "killed", "leaves", "overtime", "overtime_again", "exits_for_good", "body"}


@pytest.fixture(scope="module")
def killed(module_yard):
    """Every way to die, once, on one worker; gives the yard after the worker has stopped."""
    yard = module_yard
    worker = yard.worker(concurrency=3)
    code = "".join(f"{name}.apply_async(task_id='{name}', link_error=complain.s())\n" for name in KILLED)
    code += "quick.apply_async(task_id='quick')\n"
    code += "from celery import chord\n"
    code += "headers = [exits.s(1.5).set(task_id='header'), quick.s().set(task_id='other-header')]\n"
    code += "chord(headers)(total.s().set(task_id='body').on_error(complain.s()))\n"
    yard.produce(code)
    yard.wait_for("ended", 6)
    for job in COMPLAINED:
        yard.wait_for("complained", job=job)
    yard.wait_for_executions(sum(map(len, KILLED.values())))
    worker.stop(30)
    return yard


@pytest.mark.parametrize("name", KILLED)
def test_every_killed_attempt_has_one_span_with_its_outcome(killed, name):
    spans = killed.executions(name)
    assert [brief(span) for span in spans] == KILLED[name]
    assert [span["otjobs.job.attempt"] for span in spans] == list(range(1, len(spans) + 1))
    for span in spans:
        assert ("otjobs.job.dispatched" in span.attributes) is not span.get("otjobs.job.observed", False)
        assert span.status == ("UNSET" if span["otjobs.job.outcome"] in ("success", "retry") else "ERROR")


def test_an_observed_attempt_starts_when_it_started(killed):
    """The main process knows the moment a child took the job, which is before the task's own first reading."""
    for name, attempts in KILLED.items():
        logged = killed.seen("started", name)
        for span, true in zip(killed.executions(name), logged, strict=True):
            assert 0 <= true["at"] - span.start < parts.BUSY_NS, (name, attempts)
            assert span.end >= true["at"]
    [span] = killed.executions("overtime")
    assert 1.0 <= (span.end - span.start) / 1e9 < 20  # it would have slept for thirty


def test_attempts_of_a_killed_job_are_siblings_in_one_trace(killed):
    for name in ("overtime_again", "exits_once", "exits_and_retries"):
        first, second = killed.executions(name)
        [dispatch] = [s for s in killed.spans if s.operation == "dispatch" and s.job == name]
        assert first.parent == second.parent == dispatch.id
        assert first.trace == second.trace == dispatch.trace
    # A retry is published anew and knows its predecessor; a message that goes back to the queue is what it was.
    first, second = killed.executions("exits_and_retries")
    assert (second.trace, first.id) in second.links
    assert second["otjobs.job.published_at"] >= first.start
    _, second = killed.executions("exits_once")
    assert second["otjobs.job.redelivered"] is True
    assert "otjobs.job.published_at" not in second.attributes


def complaints(killed):
    """The execute span that counts of each error callback that ran."""
    spans = [counting(found) for found in killed.jobs().values()]
    return [s for s in spans if s["otjobs.job.type"] == "yard.complain"]


def test_an_error_callback_published_by_the_main_process_is_a_child_of_the_failed_attempt(killed):
    parents = set()
    for complaint in complaints(killed):
        parent = complaint["otjobs.job.parent.id"]
        parents.add(parent)
        failed = killed.executions(parent)[0]
        assert (complaint["otjobs.job.parent.type"], complaint["otjobs.job.parent.attempt"]) == (
            failed["otjobs.job.type"],
            1,
        )
        [dispatch] = [s for s in killed.spans if s.operation == "dispatch" and s.job == complaint.job]
        assert (dispatch.trace, dispatch.parent, complaint.trace) == (failed.trace, failed.id, failed.trace)
    assert parents - {"header"} == COMPLAINED - {"body"}


def test_a_chord_that_its_killed_header_breaks_complains_as_that_headers_child(killed):
    [header] = killed.executions("header")
    assert brief(header) == ("lost", "WorkerLostError", True)
    [complaint] = [s for s in complaints(killed) if s["otjobs.job.parent.id"] == "header"]
    assert (complaint["otjobs.job.type"], complaint["otjobs.job.parent.attempt"]) == ("yard.complain", 1)
    assert complaint.trace == header.trace
    assert killed.executions("body") == []
    assert [e["job"] for e in killed.seen("complained") if e["job"] == "body"] == ["body"]


def test_what_a_killed_attempt_dispatched_names_it(killed):
    [span] = killed.executions("child-of-overtime")
    assert (span["otjobs.job.parent.id"], span["otjobs.job.parent.attempt"]) == ("overtime", 1)
    assert span.trace == killed.executions("overtime")[0].trace


def test_a_message_refused_for_good_is_a_dead_letter(killed):
    flags = {name: killed.executions(name)[0].get("otjobs.job.dead_letter", False) for name in KILLED}
    assert [name for name, flag in flags.items() if flag] == ["exits_for_good"]


def test_every_job_of_the_application_has_its_spans(killed):
    started = {(e["job"], e["attempt"] + bool(e["redelivered"])) for e in killed.seen("started")}
    spans = [s for s in killed.executions() if s["otjobs.job.type"] != "yard.complain"]
    assert {(s.job, s["otjobs.job.attempt"]) for s in spans} == started
    # A child that left on its own had sent its spans; that the main process repeats its last jobs does not count.
    assert len([s for s in spans if s.job in KILLED]) == sum(map(len, KILLED.values()))
