"""The model against the truth: what the spans say, all of them, is what happened."""

from __future__ import annotations

import time
from collections import Counter

import pytest
from compare_views import differences
from history import generate
from model import recompute
from spans_of import spans_of
from what_happened import job_rows, workflow_rows


@pytest.mark.parametrize("seed", range(0, 200, 10))
def test_the_model_says_of_all_spans_what_happened(seed):
    for each in range(seed, seed + 10):
        now = time.time_ns()
        history = generate(each, now)
        world = recompute(spans_of(history), now)
        for view, rows in (
            ("jobs", job_rows(history, now, world.clocks)),
            ("workflows", workflow_rows(history, now, world.clocks)),
        ):
            ours = [{name: row[name] for name in rows[0]} for row in world.tables[view]]
            found = differences(view, rows, ours)
            assert not found, f"seed {each}: " + "\n".join(found)


def test_the_histories_have_everything_in_them():
    outcomes: Counter[str] = Counter()
    states: Counter[str] = Counter()
    complete: Counter[int] = Counter()
    now = time.time_ns()
    for seed in range(100):
        tables = recompute(spans_of(generate(seed, now)), now).tables
        outcomes.update(row["outcome"] for row in tables["attempts"])
        states.update(row["state"] for row in tables["jobs"])
        complete.update(row["complete"] for row in tables["workflows"])
    assert (
        min(outcomes[o] for o in ["success", "failure", "retry", "expired", "cancelled", "rejected", "lost", "running"])
        > 10
    )
    assert (
        min(
            states[s] for s in ["succeeded", "failed", "retrying", "waiting", "scheduled", "running", "lost", "expired"]
        )
        > 10
    )
    assert min(complete.values()) > 50
