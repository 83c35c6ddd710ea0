"""A job whose spans give it several keys is one row: after an upgrade, a rebuild of some days, and a deletion."""

from __future__ import annotations

from datetime import timedelta

import clickhouses
import parts
import pytest
from jobs_of import S, midnight, nanoseconds, other_span, span, workflow
from test_upgrade import migrate_to

from otjobs.backend.store import connect
from otjobs.backend.store.forget import forget
from otjobs.backend.store.migrate import migrate
from otjobs.backend.store.rebuild import rebuild

pytestmark = pytest.mark.clickhouse
TRACE = f"{77:032x}"
EVENING = midnight(2) - timedelta(minutes=10)
ROWS = "SELECT job_id, toUnixTimestamp64Nano(enqueued_at), attempts, state FROM jobs WHERE workflow_id = {id:String} ORDER BY job_id"


def published_twice(**common):
    """An order before midnight, delivered again after it; both deliveries dispatch the mail, under the same id."""
    at = nanoseconds(EVENING)
    order = {"enqueued_at": at, **common}
    spans = [span("send", TRACE, "o", "order", at, **order)]
    for number, start in ((1, at + S), (2, at + 1200 * S)):
        again = {"redelivered": "true"} if number == 2 else {}
        mail = {"enqueued_at": start + S, "parent_id": "o", "parent_type": "order", "parent_attempt": number}
        spans += [
            span(
                "process",
                TRACE,
                "o",
                "order",
                start,
                2,
                attempt=number,
                outcome="success",
                dispatched=1,
                **order,
                **again,
            ),
            span("send", TRACE, "m", "mail", start + S, **mail, **common),
            span(
                "process",
                TRACE,
                "m",
                "mail",
                start + 2 * S,
                1,
                attempt=1,
                outcome="success",
                dispatched=0,
                **mail,
                **common,
            ),
        ]
    return spans


def composite(number):
    """The span of a composite, at the first evening, of the workflow of that number."""
    return other_span(f"{number:032x}", nanoseconds(EVENING), **{"otjobs.workflow.roots": "1"})


def jobs(store, trace=TRACE):
    return store.query(ROWS, {"id": trace}).rows


ONE_EACH = [
    ("m", nanoseconds(EVENING) + 2 * S, 1, "succeeded"),
    ("o", nanoseconds(EVENING), 2, "succeeded"),
]


def test_after_an_upgrade(url):
    # Given a database of the version before, with such a job that nothing arrives for any more
    store = connect(url)
    migrate_to(store, 7)
    store.insert_spans(published_twice())
    clickhouses.age(store)
    assert [row[0] for row in jobs(store)] == ["m", "m", "o"]
    # When it is migrated, and the next look is over
    migrate(store)
    clickhouses.mend(store)
    # Then it is one job
    assert jobs(store) == ONE_EACH
    assert store.query("SELECT jobs, complete FROM workflows").rows == [(2, 1)]
    store.close()


@pytest.mark.parametrize("days", [[0], [1], [0, 1]])
def test_after_a_rebuild_of_some_of_its_days(store, days):
    store.insert_spans(published_twice())
    clickhouses.mend(store)
    assert jobs(store) == ONE_EACH
    # When some of its days are made again, of which the spans know nothing of each other
    rebuild(store, [EVENING.date() + timedelta(days=day) for day in days])
    clickhouses.mend(store)
    assert jobs(store) == ONE_EACH
    assert store.query("SELECT jobs, complete FROM workflows").rows == [(2, 1)]
    assert store.query("SELECT sum(dispatched) FROM queue_minutes").rows == [(2,)]


def test_forgetting_takes_all_of_it(store):
    # Given such a job, and one with a composite, both of one customer
    customer = {"customer": "42"}
    store.insert_spans(
        [
            *published_twice(labels=customer),
            *workflow(5, EVENING, labels=customer),
            composite(5),
            *workflow(6, EVENING),
            composite(6),
        ]
    )
    clickhouses.mend(store)
    # When the customer is forgotten
    found = forget(store, "customer", "42")
    # Then each job was counted once, and nothing of them is left
    assert (found.jobs, found.attempts, found.workflows, found.shared_workflows) == (4, 5, 2, 0)
    clickhouses.mend(store)
    assert store.query("SELECT DISTINCT workflow_id FROM attempt_states").rows == [(f"{6:032x}",)]
    assert store.query("SELECT jobs, complete FROM workflows").rows == [(2, 1)]


MINE = f"workflow_id = '{55:032x}'"


def rows_of_workflow(store):
    return store.query(f"SELECT count() FROM workflow_rows WHERE {MINE}").rows[0][0]


def test_a_refresh_that_is_under_way_brings_nothing_back(store):
    # Given the row of a workflow, and a refresh that has read it and writes it a little later
    store.insert_spans(workflow(55, EVENING, labels={"customer": "42"}))
    clickhouses.age(store)
    assert rows_of_workflow(store) == 1
    store.command(
        "CREATE MATERIALIZED VIEW slow_mv REFRESH EVERY 1 YEAR APPEND TO workflow_rows EMPTY AS "
        f"SELECT * FROM (SELECT * FROM workflow_rows WHERE {MINE}) WHERE sleepEachRow(3) = 0"
    )
    store.command("SYSTEM REFRESH VIEW slow_mv")
    running = "SELECT status FROM system.view_refreshes WHERE view = 'slow_mv' AND database = currentDatabase()"
    parts.wait_until(lambda: store.query(running).rows == [("Running",)], what="the refresh")
    # When the customer is forgotten meanwhile
    forget(store, "customer", "42")
    # Then the refresh has ended, and the row is gone
    assert store.query(running).rows != [("Running",)]
    assert rows_of_workflow(store) == 0


def test_forgetting_that_was_interrupted_between_its_deletions_goes_on(store, monkeypatch):
    store.insert_spans(workflow(55, EVENING, labels={"customer": "42"}))
    clickhouses.age(store)
    store.command(f"CREATE TABLE kept ENGINE = Memory AS SELECT * FROM workflow_rows WHERE {MINE}")

    def interrupted(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("otjobs.backend.store.forget._wait_for_refreshes", interrupted)
        with pytest.raises(KeyboardInterrupt):
            forget(store, "customer", "42")
    # Given that a refresh then writes a row back
    store.command("INSERT INTO workflow_rows SELECT * FROM kept")
    assert rows_of_workflow(store) == 1
    # When it is called again, it finds no job any more, and deletes the row all the same
    assert forget(store, "customer", "42").jobs == 0
    assert rows_of_workflow(store) == 0
    assert [row[0] for row in store.query("SHOW TABLES LIKE 'forget%'").rows] == []


def test_ids_that_differ_only_far_behind_stay_two_jobs(store):
    """Texts from outside are bounded; what is cut off still tells ids apart."""
    start = nanoseconds(midnight(1))
    ids = ["x" * 5000 + end for end in "ab"]
    store.insert_spans([span("process", "1" * 32, job, "mail", start, 1, enqueued_at=start) for job in ids])
    found = [job for (job,) in store.query("SELECT job_id FROM jobs").rows]
    assert len(set(found)) == 2
    assert {len(job) for job in found} == {1024}
