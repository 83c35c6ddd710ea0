"""Every contract column of every row of `attempts`, `jobs` and `workflows`, whatever the delivery."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import deliver
import pytest
from compare_views import compare
from history import History, Job, Observed, Run, S, Workflow, generate
from hypothesis import given, settings
from hypothesis import strategies as st
from model import recompute
from smallest import smallest, told
from spans_of import spans_of
from what_happened import undecidable, workflow_rows

if TYPE_CHECKING:
    from conftest import Bench

PROFILE = settings.get_profile("exactness")
seeds = st.integers(0, 2**32 - 1)


def check(bench: Bench, what: str, *, shrink: bool = True) -> None:
    """Compare the views with the model of what the bench holds; a failure shows the fewest spans that give one."""
    found = compare(bench.store, bench.expected().tables)
    if not found:
        return
    lines = [what, *found[:10]]
    if shrink:

        def fails(spans):
            bench.empty()
            bench.deliver([spans])
            return bool(compare(bench.store, bench.expected().tables))

        spans = list(bench.spans)
        if fails(spans):
            fewest = smallest(spans, fails)
            fails(fewest)
            lines += ["with these spans alone:", told(fewest), *compare(bench.store, bench.expected().tables)]
        else:
            lines.append("and all spans in one batch give no failure")
    pytest.fail("\n".join(lines), pytrace=False)


@given(seed=seeds, delivery=st.sampled_from(deliver.DELIVERIES))
@settings(PROFILE)
def test_the_views_are_exact(bench, seed, delivery):
    # Given a history, delivered in some way
    spans = spans_of(generate(seed, time.time_ns()))
    bench.empty()
    bench.deliver(delivery(spans, random.Random(seed)))
    # Then every row of every view is the model's
    check(bench, f"seed {seed}, delivered {delivery.__name__}")


@given(seed=seeds)
@settings(PROFILE, max_examples=max(PROFILE.max_examples // 4, 1))
def test_nothing_is_called_complete_too_early(bench, seed):
    # Given a history whose spans arrive in any order, some several times
    now = time.time_ns()
    history = generate(seed, now)
    spans = spans_of(history)
    whole = recompute(spans, now)
    final = {row["workflow_id"]: row for row in workflow_rows(history, now, whole.clocks)}
    workflows = {workflow.id: workflow for workflow in history.workflows}
    bench.empty()
    for batch in deliver.everything_in_the_end(spans, random.Random(seed)):
        # When one more batch is there
        bench.deliver([batch])
        seen = bench.expected()
        check(bench, f"seed {seed}, after {len(bench.spans)} of the spans", shrink=False)
        # Then whatever is called complete is as it will be in the end, but where nobody could know better
        rows = bench.store.query(
            "SELECT workflow_id, jobs, failed_jobs, toUnixTimestamp64Nano(ended_at) FROM workflows WHERE complete"
        ).rows
        for workflow_id, *figures in rows:
            end = final[workflow_id]
            if figures != [end["jobs"], end["failed_jobs"], end["ended_at"]]:
                why = undecidable(workflows[workflow_id], seen, whole)
                assert why, f"seed {seed}: {workflow_id} is called complete with {figures}, but in the end: {end}"


@pytest.mark.parametrize("delivery", [deliver.shuffled, deliver.everything], ids=lambda d: d.__name__)
def test_many_histories_at_once(bench, delivery):
    spans = spans_of(generate(4711, time.time_ns(), workflows=150))
    bench.empty()
    bench.deliver(delivery(spans, random.Random(4711)))
    check(bench, "150 workflows")


@pytest.mark.clickhouse
@pytest.mark.parametrize("seed", range(len(deliver.DELIVERIES)))
def test_the_views_are_exact_on_a_real_server(server_bench, seed):
    spans = spans_of(generate(seed, time.time_ns(), workflows=12))
    server_bench.empty()
    server_bench.deliver(deliver.DELIVERIES[seed](spans, random.Random(seed)))
    check(server_bench, f"seed {seed}")


# Common mistakes, as SQL in place of the view: each must be noticed, in that column.
MISTAKES = {
    "a retry's number taken for the count of starts": (
        "attempts",
        (
            "(SELECT j.* REPLACE (a.number AS attempts) FROM jobs AS j LEFT JOIN (SELECT workflow_id, system, queue, job_id, "
            "max(attempt) AS number FROM attempts GROUP BY ALL) AS a USING (workflow_id, system, queue, job_id))"
        ),
    ),
    "delay counted as waiting": (
        "queue_seconds",
        (
            "(SELECT * REPLACE (greatest(0, (toUnixTimestamp64Nano(started_at) - toUnixTimestamp64Nano(enqueued_at)) / 1e9) "
            "AS queue_seconds) FROM jobs)"
        ),
    ),
    "a retry taken for an end": ("ended_at", "(SELECT * REPLACE (ifNull(ended_at, started_at) AS ended_at) FROM jobs)"),
    "complete as soon as nothing is open": (
        "complete",
        "(SELECT * REPLACE (toUInt8(open_jobs = 0) AS complete) FROM workflows)",
    ),
    "a redelivery given the publish time of another": (
        "published_at",
        "(SELECT * REPLACE (ifNull(published_at, enqueued_at) AS published_at) FROM attempts)",
    ),
    "negative waits shown": (
        "queue_seconds",
        (
            "(SELECT * REPLACE ((toUnixTimestamp64Nano(started_at) - toUnixTimestamp64Nano(ready_at)) / 1e9 AS queue_seconds) "
            "FROM attempts)"
        ),
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_comparison_notices(bench, mistake):
    column, source = MISTAKES[mistake]
    view = next(name for name in ("jobs", "workflows", "attempts") if f"FROM {name}" in source)
    spans = spans_of(generate(7, time.time_ns(), workflows=60))
    bench.empty()
    bench.deliver([spans, spans])
    expected = bench.expected().tables
    assert not compare(bench.store, expected)
    found = compare(bench.store, {view: expected[view]}, instead={view: source})
    assert found
    assert all(f": {column} is " in line for line in found)


def test_the_comparison_notices_counts_of_landing_rows(bench):
    """The classic mistake: a sum over spans, which is right until one comes twice."""
    spans = [s for s in spans_of(generate(7, time.time_ns())) if s.operation != "receive"]
    summed = (
        "(SELECT w.* REPLACE (s.run AS run_seconds) FROM workflows AS w LEFT JOIN (SELECT if(SpanAttributes['otjobs.workflow.id'] "
        "!= '', SpanAttributes['otjobs.workflow.id'], TraceId) AS id, sumOrNullIf(if(Duration < 9e18, Duration, 0) / 1e9, "
        "SpanAttributes['messaging.operation.type'] = 'process') AS run FROM otel_traces GROUP BY id) AS s ON s.id = w.workflow_id)"
    )
    wrong = []
    for copies in (1, 2):
        bench.empty()
        bench.deliver([spans * copies])
        wrong.append(
            len(compare(bench.store, {"workflows": bench.expected().workflows}, instead={"workflows": summed}))
        )
    assert wrong[0] < wrong[1]


def test_wall_seconds_is_never_negative(bench):
    spans = spans_of(generate(7, time.time_ns(), workflows=60))
    bench.empty()
    bench.deliver([spans])
    assert not compare(bench.store, bench.expected().tables)


@pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason="reports on two sides of an hour give a job without enqueue time two keys",
)
def test_a_job_without_enqueue_time_is_one_job(bench):
    # Given a killed run of a job whose producer is not instrumented; the main process saw it begin just before the hour
    hour = (time.time_ns() // (3600 * S) - 2) * 3600 * S
    workflow = Workflow("6" * 32, "single", link_mode=False)
    job = Job(workflow, "celery", "default", "order", "1", None, "", "1" * 16, workflow.id)
    run = Run(1, "default", None, None, False, "workers", "box-1", "", "box-1:1", workflow.id, "2" * 16)
    run.start, run.end, run.outcome, run.beacons = hour + 1_000_000, hour + 3 * S, "lost", [(hour + 2 * S, 30.0)]
    run.observed = Observed(hour - 1_000_000, hour + 4 * S, "lost", "WorkerLostError", "3" * 16, workflow.id)
    job.runs.append(run)
    workflow.jobs.append(job)
    bench.empty()
    bench.deliver([spans_of(History(0, time.time_ns(), [workflow]))])
    assert not compare(bench.store, bench.expected().tables)
