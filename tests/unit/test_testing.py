"""What `otjobs.testing` gives to tests of an application and to tests of the database."""

from __future__ import annotations

import pytest

from otjobs.backend.store import connect
from otjobs.backend.store.landing import COLUMNS
from otjobs.backend.store.migrate import migrate
from otjobs.testing import job_span_row

AT = 1_790_000_000_000_000_000
TRACE = "1" * 32


def test_a_row_has_the_columns_of_the_landing_table():
    row = job_span_row("send", AT, trace_id=TRACE, job_id="7")
    assert tuple(row) == COLUMNS
    assert (row["SpanName"], row["SpanKind"], row["Duration"]) == ("dispatch job", "Producer", 0)
    assert len(row["SpanId"]) == 16


def test_attributes_are_named_as_in_the_module_of_attributes_or_as_on_the_wire():
    row = job_span_row(
        "process", AT, AT + 5, trace_id=TRACE, job_id="7", attempt=2, redelivered=True, due_at=None, labels={"tenant": 3},
        attributes={"celery.state": "SUCCESS"},
    )  # fmt: skip
    assert row["Duration"] == 5
    assert row["SpanAttributes"] == {
        "messaging.system": "celery",
        "messaging.operation.type": "process",
        "messaging.operation.name": "execute",
        "messaging.destination.name": "default",
        "messaging.message.id": "7",
        "otjobs.job.type": "job",
        "otjobs.job.attempt": "2",
        "otjobs.job.redelivered": "true",
        "otjobs.label.tenant": "3",
        "celery.state": "SUCCESS",
    }


@pytest.mark.parametrize("name", ["atempt", "outcomes", "names", "annotations"])
def test_a_misspelt_attribute_is_an_error(name):
    with pytest.raises(TypeError, match=name):
        job_span_row("process", AT, trace_id=TRACE, job_id="7", **{name: 1})


def test_a_database_shows_the_job_of_its_rows(tmp_path):
    store = connect(f"chdb://{tmp_path}")
    try:
        migrate(store)
        job = {"trace_id": TRACE, "job_id": "7", "queue": "mails", "enqueued_at": AT}
        rows = [
            job_span_row("send", AT, AT + 1000, service="web", trigger="request", trigger_name="/", **job),
            job_span_row("receive", AT + 10**9, AT + 2 * 10**9, attempt=1, beacon_interval=30, **job),
            job_span_row("process", AT + 10**9, AT + 3 * 10**9, attempt=1, outcome="failure", error_type="E", **job),
        ]
        store.insert_spans([tuple(row.values()) for row in rows])
        found = store.query(
            "SELECT job_id, queue, state, error_type, queue_seconds, run_seconds, producer FROM jobs"
        ).rows
        assert found == [("7", "mails", "failed", "E", 1.0, 2.0, "web")]
    finally:
        store.close()
