"""What a question makes the server read: how the views are meant to be fast."""

from __future__ import annotations

import pytest

from otjobs.backend.store import connect
from otjobs.backend.store.migrate import migrate


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    found = connect(f"chdb://{tmp_path_factory.mktemp('chdb')}")
    migrate(found)
    # A table without rows is not read at all.
    found.command(
        "INSERT INTO attempt_states (hour, system, queue, job_type, enqueued_at, workflow_id, job_id, attempt) "
        "VALUES ('2026-01-02 00:00:00', 'celery', 'q', 't', '2026-01-02 00:00:01', 'w', 'j', 1)"
    )
    yield found
    found.close()


def plan(store, sql):
    return [row[0] for row in store.query(f"EXPLAIN actions = 1, header = 1 {sql}").rows]


def read_columns(lines):
    """The columns that come out of the states: the header of the last step, which reads them."""
    at = max(i for i, line in enumerate(lines) if "ReadFromMergeTree" in line)
    found = []
    for line in lines[at + 1 :]:
        text = line.replace("│", "").strip()
        if text.startswith("Header:") or found:
            if ":" in text.removeprefix("Header:").split("(")[0]:
                break
            found.append(text.removeprefix("Header:").split()[0])
    return found


def test_filters_on_the_key_come_before_the_merge_and_others_after(store):
    lines = plan(
        store, "SELECT run_seconds FROM jobs WHERE queue = 'q' AND enqueued_at > '2026-01-01' AND run_seconds > 1"
    )
    before = " ".join(line for line in lines if "Prewhere filter column" in line)
    assert "queue = 'q'" in before.replace("\\'", "'")
    assert "enqueued_at" in before
    assert "started_at" not in before
    assert "ending" not in before


def test_columns_that_are_not_asked_for_are_not_read(store):
    read = read_columns(plan(store, "SELECT sum(attempts) FROM jobs WHERE queue = 'q'"))
    assert {"job_id", "attempt", "started_at"} <= set(read)
    assert not {"ending", "alive", "label_pairs", "parent_id", "producer", "group_id"} & set(read)


def test_the_states_are_put_in_order_once(store):
    lines = plan(store, "SELECT * FROM jobs WHERE queue = 'q'")
    assert sum("Sorting" in line for line in lines) == 1


def test_the_primary_key_has_no_nullable_column(store):
    # FINAL could not leave out a part that overlaps no other.
    (key,) = store.query(
        "SELECT primary_key FROM system.tables WHERE database = {name:String} AND name = 'attempt_states'",
        {"name": store.database},
    ).rows[0]
    types = [row[1] for row in store.query(f"DESCRIBE (SELECT {key} FROM attempt_states)").rows]
    assert len(types) == 6
    assert not [found for found in types if "Nullable" in found]
