"""Every contract column of every row of `attempts`, `jobs` and `workflows`, whatever the delivery."""

from __future__ import annotations

import random
import time
from dataclasses import replace
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
    # Then it is one job
    assert bench.store.query("SELECT job_id, attempts, state FROM jobs").rows == [("1", 1, "lost")]
    assert not compare(bench.store, bench.expected().tables)


def order_that_dispatches_twice(at):
    """An order whose second delivery dispatches the mail that the first one had dispatched, under the same id."""
    workflow = Workflow("7" * 32, "single", link_mode=False)
    order = Job(workflow, "celery", "default", "order", "1", at, "web", "1" * 16, workflow.id)
    mail = Job(workflow, "celery", "mail", "mail", "m", at + 2 * S, "workers", "2" * 16, workflow.id, parent=order)
    again = replace(mail, enqueued_at=at + 3600 * S, dispatch_span_id="3" * 16, runs=[])
    for job, number, start in (
        (order, 1, at + S),
        (order, 2, at + 3599 * S),
        (mail, 1, at + 3 * S),
        (again, 1, at + 3602 * S),
    ):
        run = Run(
            number,
            job.queue,
            None if number > 1 else job.enqueued_at,
            None,
            number > 1,
            "workers",
            "box-1",
            "",
            "box-1:1",
            workflow.id,
            f"{start:016x}",
        )
        run.start, run.end, run.outcome, run.own = start, start + 2 * S, "success", True
        job.runs.append(run)
    mail.parent_run, again.parent_run = order.runs
    mail.again = again
    order.runs[0].children.append(mail)
    order.runs[1].children.append(again)
    workflow.jobs += [order, mail]
    return workflow


@pytest.mark.parametrize("reverse", [False, True])
def test_a_job_that_is_published_twice_is_one_job(bench, reverse):
    # Given a chain whose first step was delivered again after it had published the second one
    at = (time.time_ns() // (3600 * S) - 5) * 3600 * S
    spans = spans_of(History(0, time.time_ns(), [order_that_dispatches_twice(at)]))
    bench.empty()
    # When the spans of either publication arrive first, and all twice
    spans.sort(key=lambda span: span.start, reverse=reverse)
    bench.deliver([spans[:3], spans[3:]])
    bench.deliver([spans])
    # Then there are two jobs, as of the first publication, and the workflow is complete
    rows = "SELECT job_id, toUnixTimestamp64Nano(enqueued_at), attempts, state FROM jobs ORDER BY job_id"
    assert bench.store.query(rows).rows == [("1", at, 2, "succeeded"), ("m", at + 2 * S, 1, "succeeded")]
    assert bench.store.query("SELECT jobs, complete FROM workflows").rows == [(2, 1)]
    assert bench.store.query("SELECT sum(dispatched) FROM queue_minutes WHERE queue = 'mail'").rows == [(1,)]
    assert not compare(bench.store, bench.expected().tables)


def test_mending_ends(bench):
    """Nothing is written that is there, or every look would make work for the next."""
    at = (time.time_ns() // (3600 * S) - 5) * 3600 * S
    bench.empty()
    bench.deliver([spans_of(History(0, time.time_ns(), [order_that_dispatches_twice(at)]))])
    before = bench.store.query("SELECT max(arrived) FROM workflow_marks").rows
    bench.mend()
    assert bench.store.query("SELECT max(arrived) FROM workflow_marks").rows == before


@pytest.mark.parametrize("said, members", [(2, 3), (2, None), (2, 2), (0, 3)])
def test_a_composite_says_how_many_it_published(bench, said, members):
    # Given a group whose members were told a number, or none, and whose own span says how many were published
    at = time.time_ns() - 3600 * S
    workflow = Workflow("8" * 32, "single", link_mode=False, roots=said, members_say=members)
    for number in ("1", "2"):
        job = Job(workflow, "celery", "default", "order", number, at, "web", number * 16, workflow.id)
        run = Run(1, "default", at, None, False, "workers", "box-1", "", "box-1:1", workflow.id, f"{number}a" * 8)  # noqa: FBT003
        run.start, run.end, run.outcome, run.own = at + S, at + 2 * S, "success", True
        job.runs.append(run)
        workflow.jobs.append(job)
    members_alone = spans_of(History(0, time.time_ns(), [workflow]))
    workflow.composite = (at + S, "9" * 16)
    composite = [span for span in spans_of(History(0, time.time_ns(), [workflow])) if span.span_id == "9" * 16]
    # When the members have arrived, their number counts
    bench.empty()
    bench.deliver([composite])
    assert bench.store.query("SELECT count() FROM workflows").rows == [(0,)], "a composite alone is no workflow"
    bench.empty()
    bench.deliver([members_alone])
    assert bench.store.query("SELECT jobs, complete FROM workflows").rows == [(2, int(members != 3))]
    # Then, once the composite has, its own does
    bench.deliver([composite])
    assert bench.store.query("SELECT jobs, complete FROM workflows").rows == [(2, 1)]
    assert bench.store.query("SELECT count() FROM jobs").rows == [(2,)]
    assert not compare(bench.store, bench.expected().tables)


def test_a_composite_that_published_more_than_arrived_is_open(bench):
    # Given one member of a group of which nobody knew how many it would be
    at = time.time_ns() - 3600 * S
    workflow = Workflow("8" * 32, "single", link_mode=False, roots=2, composite=(at + S, "9" * 16))
    job = Job(workflow, "celery", "default", "order", "1", at, "web", "1" * 16, workflow.id)
    run = Run(1, "default", at, None, False, "workers", "box-1", "", "box-1:1", workflow.id, "1a" * 8)  # noqa: FBT003
    run.start, run.end, run.outcome, run.own = at + S, at + 2 * S, "success", True
    job.runs.append(run)
    workflow.jobs.append(job)
    bench.empty()
    bench.deliver([spans_of(History(0, time.time_ns(), [workflow]))])
    assert bench.store.query("SELECT jobs, open_jobs, complete FROM workflows").rows == [(1, 0, 0)]
