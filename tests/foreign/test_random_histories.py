"""Random histories, delivered in any way, give row for row what one clean delivery gives."""

from __future__ import annotations

import os
import random

import pytest
from clickhouses import empty
from histories import SYSTEMS, deliveries, history
from test_pairing import ATTEMPTS, JOBS, MINUTES, WORKFLOWS

SEEDS = range(int(os.environ.get("FOREIGN_SEEDS", "4")))


def rounded(value):
    """Sums of seconds differ in their last digits with the order they are added in."""
    if isinstance(value, list | tuple):
        return [rounded(one) for one in value]
    return round(value, 6) if isinstance(value, float) else value


def figures(store):
    return {text: rounded(store.query(text).rows) for text in (JOBS, ATTEMPTS, WORKFLOWS, MINUTES)}


@pytest.mark.parametrize("seed", SEEDS)
def test_any_delivery_gives_what_one_gives(store, seed):
    rng = random.Random(seed)
    spans = history(rng)
    store.insert_spans(spans)
    expected = figures(store)
    assert {row[0] for row in expected[JOBS]} >= {"celery", "taskiq", "bullmq"}
    assert len(expected[ATTEMPTS]) > len(SYSTEMS)
    for name, batches in deliveries(spans, rng):
        empty(store)
        for batch in batches:
            store.insert_spans(batch)
        found = figures(store)
        for text, rows in expected.items():
            assert found[text] == rows, name
