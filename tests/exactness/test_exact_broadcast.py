"""A message that a broker hands to every worker: each has a run, and a failure of any is visible."""

from __future__ import annotations

import random
import time

import deliver
import minutes
import pytest
from compare_views import compare
from history import History, Observed, S
from spans_of import spans_of
from test_exact_waiting import job, run


@pytest.fixture(params=["bench", "aging_bench", "shards_bench"])
def each_bench(request):
    found = request.getfixturevalue(request.param)
    found.empty()
    return found


def on(worker, of, start, seconds, outcome, **more):
    """Let a worker run the message."""
    made = run(of, start, seconds, outcome, **more)
    made.runs[-1].worker = worker
    made.runs[-1].host = worker
    return made


def history(now):
    """Three workers get a message, and one of them fails; all of them; a plain job beside."""
    at = now // (60 * S) * 60 * S - 630 * S  # half a minute before the end of one
    mixed, good, plain = (job("all", at, broadcast=True), job("all", at + S, broadcast=True), job("mail", at))
    for number, outcome in enumerate(("success", "failure", "success")):
        error = "ValueError" if outcome == "failure" else ""
        on(f"box-{number}", mixed, at + (1 + number) * 40 * S, 2 + number, outcome, error_type=error)
        on(f"box-{number}", good, at + (3 + number) * S, 1, "success", cpu_seconds=0.5, received_at=at + 2 * S)
    # The last one's child was killed, and its main process saw that; it says nothing of the others
    killed = on("box-3", mixed, at + 200 * S, 1, "lost").runs[-1]
    killed.own = False
    killed.observed = Observed(killed.start, killed.end, "lost", "WorkerLostError", "f" * 16, mixed.workflow.id)
    run(plain, at + S, 1, "success")
    return History(0, now, [made.workflow for made in (mixed, good, plain)]), mixed, good


@pytest.mark.parametrize("delivery", [deliver.once, deliver.everything], ids=lambda found: found.__name__)
def test_each_worker_has_a_run_and_a_failure_is_the_jobs(each_bench, delivery):
    told, mixed, good = history(time.time_ns())
    each_bench.deliver(delivery(spans_of(told), random.Random(5)))
    ask = each_bench.store.query
    runs = "SELECT worker, outcome, error_type, run_seconds FROM attempts WHERE job_id = {id:String} ORDER BY worker"
    # Then there is a row for each run
    assert ask(runs, {"id": mixed.id}).rows == [
        ("box-0", "success", "", 2.0),
        ("box-1", "failure", "ValueError", 3.0),
        ("box-2", "success", "", 4.0),
        ("box-3", "lost", "WorkerLostError", 1.0),
    ]
    assert ask(runs, {"id": good.id}).rows == [(f"box-{n}", "success", "", 1.0) for n in range(3)]
    # And one for each job, which has failed if any run of it has
    assert ask(
        "SELECT job_id, state, error_type, worker, attempts FROM jobs WHERE queue = 'all' ORDER BY enqueued_at"
    ).rows == [
        (mixed.id, "failed", "ValueError", "box-1", 1),
        (good.id, "succeeded", "", "box-2", 1),
    ]
    counts = "sum(dispatched), sum(started), sum(succeeded), sum(failed), sum(lost)"
    assert ask(f"SELECT {counts} FROM queue_minutes WHERE queue = 'all'").rows == [(2, 7, 5, 1, 1)]
    assert ask("SELECT max(waiting) FROM queue_minutes WHERE queue = 'all'").rows == [(1,)]
    # And every view is as the model has it
    world = each_bench.expected()
    found = compare(each_bench.store, {**world.tables, **minutes.tables(world)}, until=world.now)
    assert not found, "\n".join(found[:20])
