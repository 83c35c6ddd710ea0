"""The oldest supported server: the schema, every view and every named query."""

from __future__ import annotations

import random
import time

import deliver
import minutes
import pytest
from compare_views import compare
from history import generate
from spans_of import spans_of

from otjobs.backend.store.sql_files import query_names

pytestmark = pytest.mark.clickhouse


def differences(bench):
    world = bench.expected()
    return compare(bench.store, {**minutes.tables(world), **world.tables}, until=world.now)


def test_every_view_whatever_the_delivery(oldest_bench):
    # Given a history whose spans come shuffled and repeated
    rng = random.Random(6)
    sent = spans_of(generate(6, time.time_ns(), workflows=6))
    oldest_bench.deliver(deliver.everything_in_the_end(sent, rng))
    # Then every view says what the model says, computed when it is read,
    assert differences(oldest_bench) == []
    # and read from stored rows.
    oldest_bench.age()
    assert differences(oldest_bench) == []
    assert oldest_bench.store.query("SELECT count() > 20 FROM jobs").rows == [(1,)]


def test_every_named_query(oldest_bench):
    answers = {name: oldest_bench.store.named(name).rows for name in query_names()}
    assert len(answers) > 40
    assert sum(map(bool, answers.values())) > 20
