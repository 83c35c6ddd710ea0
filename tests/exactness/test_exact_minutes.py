"""Every contract column of every row of the minute views, whatever the delivery: figured out when read, and as stored."""

from __future__ import annotations

import random
import time

import deliver
import minutes
import pytest
from compare_views import compare
from history import History, Job, Run, S, Workflow, generate
from hypothesis import example, given, settings
from hypothesis import strategies as st
from spans_of import spans_of

PROFILE = settings.get_profile("exactness")
VIEWS = ("queue_minutes", "workflow_minutes", "job_edges", "job_types", "pipeline_health", "clock_skew")


def check(bench, what, views=VIEWS):
    world = bench.expected()
    wanted = {**minutes.tables(world), **world.tables}
    # A job waits for days, so its minutes are many: those that are over when the model looked are compared.
    found = compare(bench.store, {view: wanted[view] for view in views}, until=world.now)
    assert not found, "\n".join([what, *found[:20]])


@pytest.fixture(autouse=True)
def _views_are_there(bench):
    missing = [view for view in VIEWS if not bench.store.has_table(view)]
    if missing:
        pytest.skip(f"this schema has no {', '.join(missing)} yet")


@given(seed=st.integers(0, 2**32 - 1), delivery=st.sampled_from(deliver.DELIVERIES))
@settings(PROFILE, max_examples=max(PROFILE.max_examples // 4, 1))
@example(seed=1, delivery=deliver.everything)
def test_the_minutes_are_exact(bench, seed, delivery):
    # Given a history, delivered in some way
    spans = spans_of(generate(seed, time.time_ns(), workflows=3))
    bench.empty()
    bench.deliver(delivery(spans, random.Random(seed)))
    # Then every row of every minute view is the model's
    check(bench, f"seed {seed}, delivered {delivery.__name__}")


def test_no_minute_is_in_the_future(bench):
    while time.time() % 60 > 50:
        time.sleep(1)
    spans = spans_of(generate(2, time.time_ns(), workflows=3))
    bench.empty()
    bench.deliver([spans])
    assert bench.store.query("SELECT count() FROM queue_minutes WHERE minute > now()").rows == [(0,)]


def test_a_redelivered_job_waits_no_longer(bench):
    # Given a job whose first delivery died unseen and whose second one ran to its end, an hour ago
    at = time.time_ns() - 3600 * S
    workflow = Workflow("5" * 32, "single", link_mode=False)
    job = Job(workflow, "celery", "default", "order", "1", at, "web", "1" * 16, workflow.id)
    run = Run(2, "default", None, None, True, "workers", "box-1", "", "box-1:1", workflow.id, "2" * 16)
    run.start, run.end, run.outcome, run.own = at + 9 * S, at + 10 * S, "success", True
    job.runs.append(run)
    workflow.jobs.append(job)
    bench.empty()
    bench.deliver([spans_of(History(0, time.time_ns(), [workflow]))])
    # Then nobody waits now
    assert bench.store.query("SELECT state FROM jobs").rows == [("succeeded",)]
    assert bench.store.query("SELECT sum(waiting) FROM queue_minutes WHERE minute > now() - 1800").rows == [(0,)]
