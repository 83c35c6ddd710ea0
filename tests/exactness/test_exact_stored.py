"""Stored rows: read as they were made, and out of date the moment anything could change them."""

from __future__ import annotations

import random
import threading
import time

import minutes
import pytest
from compare_views import compare
from history import History, Job, Run, S, Workflow, generate
from spans_of import spans_of

from otjobs.backend.store import connect

VIEWS = ("queue_minutes", "workflow_minutes", "job_edges", "job_types", "pipeline_health", "clock_skew", "workflows")
pytestmark = pytest.mark.clickhouse


def differences(bench):
    world = bench.expected()
    wanted = {**minutes.tables(world), **world.tables}
    found = compare(bench.store, {view: wanted[view] for view in VIEWS}, until=world.now)
    still = {job["job_id"] for job in wanted["jobs"] if job["ended_at"] is None}
    got = {row[0] for row in bench.store.query("SELECT job_id FROM open_jobs").rows}
    return found if still == got else [*found, f"open_jobs: {got} should be {still}"]


def lone_job(at, *runs):
    """A job of its own workflow, of a service that nothing else is heard of."""
    workflow = Workflow(f"{random.getrandbits(128) | 1:032x}", "single", link_mode=False)
    job = Job(workflow, "celery", "default", "order", "1", at, "web", workflow.id[:16], workflow.id)
    job.runs += runs
    workflow.jobs.append(job)
    return job


def run_of(at, attempt, span_id, **fields):
    run = Run(attempt, "default", None, None, attempt > 1, "lonely", "box-1", "", "box-1:1", "", span_id * 16)
    for name, value in fields.items():
        setattr(run, name, value)
    return run


def spans(*jobs):
    for job in jobs:
        for run in job.runs:
            run.trace_id = job.workflow.id
    return spans_of(History(0, time.time_ns(), [job.workflow for job in jobs]))


@pytest.mark.parametrize("seed", [0])
def test_they_stay_right_when_more_arrives(aging_bench, seed):
    # Given a history whose spans come in two halves, any of them days late
    sent = spans_of(generate(seed, time.time_ns(), workflows=4))
    random.Random(seed).shuffle(sent)
    for half in (sent[::2], sent[1::2]):
        # When a half has arrived, the figures are right at once
        aging_bench.deliver([half])
        assert not differences(aging_bench), "just arrived"
        # And still when they are read from stored rows
        aging_bench.age()
        assert not differences(aging_bench), "stored"


def test_a_run_that_became_lost_behind_a_later_attempt(aging_bench):
    # Given a silent first delivery, and a redelivery that was cancelled before it started: the job has ended
    at = time.time_ns() - 3 * 3600 * S
    first = run_of(at, 1, "a", start=at + S, beacons=[(at + 2 * S, 5.0)])
    second = run_of(at, 2, "b", end=at + 3 * S, outcome="cancelled", own=True, service="other")
    aging_bench.deliver([spans(lone_job(at, first, second))])
    aging_bench.age()
    assert not differences(aging_bench)
    # When its service is heard of again, with another workflow, the first one is lost
    later = at + 3600 * S
    other = run_of(later, 1, "c", start=later, end=later + S, outcome="success", own=True)
    aging_bench.deliver([spans(lone_job(later, other))])
    # Then its run counts everywhere
    assert not differences(aging_bench)
    aging_bench.age()
    assert not differences(aging_bench)


def test_a_job_that_expires_while_nothing_arrives(aging_bench):
    # Given a job that waits, and expires in a while
    at = time.time_ns()
    job = lone_job(at - 600 * S)
    job.expires_at = at + 12 * S
    aging_bench.deliver([spans(job)])
    aging_bench.age()
    before = aging_bench.store.query(
        "SELECT sum(waiting) FROM queue_minutes WHERE minute = toStartOfMinute(now() - 120)"
    )
    assert before.rows == [(1,)]
    # When that time has come
    time.sleep(max(0, (job.expires_at - time.time_ns()) / S) + 1)
    # Then it waits no longer
    running = "SELECT sum(waiting) FROM queue_minutes WHERE minute = toStartOfMinute(now())"
    assert aging_bench.store.query(running).rows == [(0,)]
    assert not differences(aging_bench)


def test_rows_are_read_as_stored(aging_bench):
    """The tests above would say nothing if everything were figured out when read."""
    sent = spans_of(generate(3, time.time_ns(), workflows=4))
    aging_bench.deliver([sent])
    aging_bench.age()
    assert not differences(aging_bench)
    for table in ("workflow_rows", "minute_rows"):
        column = "jobs" if table == "workflow_rows" else "succeeded"
        change = f"ALTER TABLE {table} UPDATE {column} = {column} + 1 WHERE 1 SETTINGS mutations_sync = 2"
        aging_bench.store.command(change)
    wrong = differences(aging_bench)
    assert any("workflows" in line and ": jobs is" in line for line in wrong)
    assert any("queue_minutes" in line and ": succeeded is" in line for line in wrong)


def test_nothing_is_hidden_or_doubled_while_spans_arrive(aging_bench):
    # Given stored rows of a history
    sent = spans_of(generate(5, time.time_ns(), workflows=100))
    aging_bench.deliver([sent])
    aging_bench.age()
    figures = (
        "SELECT (SELECT count() FROM workflows), (SELECT sum(jobs) FROM workflows), (SELECT sum(dispatched) FROM queue_minutes), "
        "(SELECT sum(started) FROM queue_minutes), (SELECT sum(dispatched) FROM job_edges)"
    )
    right = aging_bench.store.query(figures).rows
    # When the same spans arrive again, one by one
    stop = threading.Event()
    again = connect(aging_bench.url)

    def arrive():
        for span in random.Random(5).sample(sent, len(sent)):
            if stop.is_set():
                return
            again.insert_spans([span.row])

    sender = threading.Thread(target=arrive)
    sender.start()
    try:
        # Then no reader ever sees anything else
        until = time.monotonic() + 8
        seen = set()
        while time.monotonic() < until and sender.is_alive():
            seen |= set(aging_bench.store.query(figures).rows)
    finally:
        stop.set()
        sender.join()
        again.close()
    assert seen == set(right)
