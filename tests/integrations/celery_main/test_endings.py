"""Every way in which an attempt can end in a pool child, told by a child that lives and by one that is killed.

A child that is killed takes the spans of its last jobs with it. The main process then reports these jobs, and must say
the same of them as the child would have said.
"""

from __future__ import annotations

from collections import defaultdict

import celery
import pytest
from celery_main_harness import Yard, brief, stop

pytestmark = [pytest.mark.redis, pytest.mark.slow]

SUCCESS = ("success", "", False)
# task -> its attempts: outcome, error type, dead letter
ENDINGS = {
    "returns": [SUCCESS],
    "ignores": [SUCCESS],
    "raises": [("failure", "ValueError", False)],
    "raises_expected": [("failure", "KeyError", False)],
    "raises_unpicklable": [("failure", "Unpicklable", False)],
    "returns_unserialisable": [("failure", "EncodeError", False)],
    "fails_unacknowledged": [("failure", "ValueError", True)],
    "rejects_after_success": [("rejected", "Reject", True)],
    "retries": [("retry", "ValueError", False), SUCCESS],
    "retries_without_cause": [("retry", "Retry", False), SUCCESS],
    "retries_unpicklable": [("retry", "Unpicklable", False), SUCCESS],
    "retries_quietly": [("retry", "ValueError", False), SUCCESS],
    "retries_quietly_then_raises": [("retry", "KeyError", False), SUCCESS],
    "retries_quietly_then_rejects": [("retry", "", False), SUCCESS],
    "exhausts": [("retry", "ValueError", False), ("failure", "ValueError", True)],
    "is_refused_by_its_own_limit": [("retry", "ValueError", False), ("failure", "ValueError", True)],
    "is_refused": [("failure", "MaxRetriesExceededError", True)],
    "gets_over_a_refusal": [SUCCESS],
    "raises_retry_by_hand": [("failure", "Retry", False)],
    "calls_a_task_that_retries": [("failure", "Retry", False)],
    "retries_in_vain": [("rejected", "Reject", True)],
    "gets_over_a_retry_in_vain": [SUCCESS],
    "rejects": [("rejected", "Reject", True)],
    "rejects_what_is_acknowledged": [("rejected", "Reject", True)],
    "rejects_and_requeues": [("retry", "Reject", False), SUCCESS],
    "rejects_unpicklably": [("failure", "MaybeEncodingError", False)],
    "is_replaced": [("retry", "", False), SUCCESS],
}
SEEN_BY_BOTH = {"rejects_unpicklably"} | ({"rejects_after_success"} if celery.VERSION >= (5, 6) else set())
"""Celery hands these to the main process as exceptions, which reports what it sees; both say the same."""
ATTEMPTS = sum(map(len, ENDINGS.values()))
CONF = {"imports": ["yard_endings"], "task_remote_tracebacks": False}


@pytest.fixture(scope="module", params=["child alive", "child killed"])
def ended(request, tmp_path_factory, collector, redis_url):
    yard = Yard(tmp_path_factory.mktemp("endings"), collector, redis_url)
    yard.killed = request.param == "child killed"
    try:
        # A child whose batches never are due has sent nothing when it is killed.
        delay = {"OTEL_BSP_SCHEDULE_DELAY": "600000"} if yard.killed else {}
        worker = yard.worker(concurrency=1, conf=CONF, **delay)
        code = "from yard_endings import *\n"
        code += "".join(f"{name}.apply_async(task_id='{name}')\n" for name in ENDINGS)
        yard.produce(code + ("dies.apply_async(task_id='dies')\n" if yard.killed else ""), conf=CONF)
        yard.wait_for("started", ATTEMPTS + yard.killed, seconds=90)
        if yard.killed:
            yard.produce(code.splitlines()[0] + "\ndies.apply_async(task_id='dies-again')\n", name="again", conf=CONF)
            yard.wait_for("started", job="dies-again")
        stop(worker)
        yield yard
    finally:
        yard.stop()


@pytest.mark.parametrize("name", ENDINGS)
def test_an_attempt_ends_the_same_whoever_reports_it(ended, name):
    reports = defaultdict(set)
    for span in ended.executions(name):
        red = "red" if span.status == "ERROR" else "plain"
        said = (span["otjobs.job.outcome"], span.get("error.type", ""), span.get("otjobs.job.dead_letter", False), red)
        reports[span["otjobs.job.attempt"]].add((said, span.get("otjobs.job.observed", False)))
    wanted = {
        number: (*attempt, "red" if attempt[0] in ("failure", "rejected") and name != "raises_expected" else "plain")
        for number, attempt in enumerate(ENDINGS[name], 1)
    }
    assert {number: {said for said, _ in found} for number, found in reports.items()} == {
        number: {said} for number, said in wanted.items()
    }
    for found in reports.values():
        observed = {by_other for _, by_other in found}
        if ended.killed:
            assert observed == {True}
        else:
            assert observed == ({False, True} if name in SEEN_BY_BOTH else {False})


@pytest.mark.parametrize("name", [name for name, attempts in ENDINGS.items() if attempts[0][0] == "retry"])
def test_a_retry_tells_when_it_is_due_whoever_reports_it(ended, name):
    spans = ended.executions(name)
    following = next(span for span in spans if span["otjobs.job.attempt"] == 2)
    due = max(following.get("otjobs.job.published_at", 0), following.get("otjobs.job.due_at", 0))
    for span in spans:
        if span["otjobs.job.attempt"] != 1:
            continue
        told = span["otjobs.job.retry_ready_at"]
        if following.get("otjobs.job.redelivered"):  # the message went back at its end
            assert span.start < told <= span.end
        else:
            assert told == due


def test_a_job_that_runs_out_of_memory_takes_the_worker_along(yard):
    """Celery's main process raises the child's MemoryError itself, and ends."""
    worker = yard.worker(concurrency=1, conf=CONF)
    yard.produce("from yard_endings import *\nruns_out_of_memory.apply_async(task_id='hungry')\n", conf=CONF)
    worker.popen.wait(60)
    assert {brief(span)[:2] for span in yard.executions("hungry")} == {("failure", "MemoryError")}
