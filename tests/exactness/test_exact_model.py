"""The model against the truth: what the spans say, all of them, is what happened."""

from __future__ import annotations

import random
import time
from collections import Counter

import pytest
from compare_views import differences
from history import generate
from model import recompute
from spans_of import spans_of
from what_happened import job_rows, undecidable, workflow_rows


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


@pytest.mark.parametrize("seed", range(0, 60, 10))
def test_the_rule_calls_nothing_complete_too_early(seed):
    for each in range(seed, seed + 10):
        now = time.time_ns()
        history = generate(each, now, workflows=4)
        spans = spans_of(history)
        whole = recompute(spans, now)
        final = {row["workflow_id"]: row for row in workflow_rows(history, now, whole.clocks)}
        workflows = {workflow.id: workflow for workflow in history.workflows}
        # Given the spans in any order, ever more of them
        random.Random(each).shuffle(spans)
        for arrived in range(1, len(spans), max(1, len(spans) // 20)):
            seen = recompute(spans[:arrived], now)
            # Then what is called complete is as in the end, but where nobody could know better
            for row in seen.workflows:
                end = final[row["workflow_id"]]
                if row["complete"] and any(row[name] != end[name] for name in ("jobs", "failed_jobs", "ended_at")):
                    assert undecidable(workflows[row["workflow_id"]], seen, whole), (
                        f"seed {each}, {arrived} spans: {row}"
                    )


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
