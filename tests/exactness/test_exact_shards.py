"""A database over two shards gives the figures of one: workflows are whole on a shard, minutes are put together."""

from __future__ import annotations

import random
import time

import deliver
import minutes
import pytest
from compare_views import compare
from history import History, Job, Run, S, Workflow, generate
from spans_of import spans_of

pytestmark = pytest.mark.clickhouse


def differences(bench, store):
    world = bench.expected()
    return compare(store, {**minutes.tables(world), **world.tables}, until=world.now)


@pytest.mark.parametrize("seed", range(3))
def test_every_view_from_every_host(shards_bench, seed):
    # Given a history, delivered in a bad way through both hosts
    sent = spans_of(generate(seed, time.time_ns(), workflows=6))
    shards_bench.empty()
    shards_bench.deliver(deliver.everything_in_the_end(sent, random.Random(seed)))
    # When each shard has a part of it, and no workflow is on both
    held = [
        {row[0] for row in shard.query("SELECT workflow_id FROM attempt_states").rows} for shard in shards_bench.shards
    ]
    assert all(held)
    assert not held[0] & held[1]
    # Then every view is exact wherever it is read
    for store in shards_bench.stores:
        assert not differences(shards_bench, store)
    # And from stored rows as well
    shards_bench.age()
    assert not differences(shards_bench, shards_bench.stores[0])


def test_stored_rows_of_every_shard_count(shards_bench):
    """The test above would say nothing of stored rows if everything were figured out when read."""
    shards_bench.empty()
    shards_bench.deliver([spans_of(generate(3, time.time_ns(), workflows=6))])
    shards_bench.age()
    for shard in shards_bench.shards:
        before = differences(shards_bench, shards_bench.store)
        for change in (
            "ALTER TABLE minute_rows UPDATE queue_values = arrayMap(x -> x + 1, queue_values) WHERE 1",
            "ALTER TABLE workflow_rows UPDATE jobs = jobs + 1 WHERE 1",
        ):
            shard.command(f"{change} SETTINGS mutations_sync = 2")
        wrong = set(differences(shards_bench, shards_bench.store)) - set(before)
        assert any("queue_p50_seconds" in line for line in wrong)
        assert any("workflows" in line and ": jobs is" in line for line in wrong)


def test_a_lost_attempt_whose_service_is_heard_of_on_another_shard(shards_bench):
    # Given an attempt that fell silent
    at = time.time_ns() - 3 * 3600 * S
    shards_bench.empty()
    silent = job_of(at, beacons=[(at + 2 * S, 5.0)])
    shards_bench.deliver([silent])
    assert state_of(shards_bench, silent) == ["running"]
    # When the same service sends on, with jobs that are on the other shard
    while True:
        other = job_of(at + 3600 * S, end=at + 3601 * S, outcome="success", own=True)
        if place(shards_bench, other) != place(shards_bench, silent):
            break
    shards_bench.deliver([other])
    # Then the first one is lost
    assert state_of(shards_bench, silent) == ["lost"]
    assert not differences(shards_bench, shards_bench.store)


def job_of(at, **fields):
    """Spans of a job of its own workflow that starts a second after it was enqueued."""
    trace = f"{random.getrandbits(128) | 1:032x}"
    workflow = Workflow(trace, "single", link_mode=False)
    job = Job(workflow, "celery", "default", "order", "1", at, "web", trace[:16], trace)
    run = Run(1, "default", None, None, False, "lonely", "box-1", "", "box-1:1", trace, trace[16:], start=at + S)
    for name, value in fields.items():
        setattr(run, name, value)
    job.runs.append(run)
    workflow.jobs.append(job)
    return spans_of(History(0, time.time_ns(), [workflow]))


def place(bench, spans):
    (row,) = bench.store.query(f"SELECT cityHash64('{spans[0].row[1]}') % 2").rows
    return row


def state_of(bench, spans):
    found = bench.store.query(f"SELECT state FROM jobs WHERE workflow_id = '{spans[0].row[1]}'").rows
    return [state for (state,) in found]
