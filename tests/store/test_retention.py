"""What is kept how long, and what happens to figures whose jobs are gone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import clickhouses
import pytest
from jobs_of import S, failure, figures, midnight, nanoseconds, other_span, span, workflow

from otjobs.backend.store.forget import Forgotten, forget
from otjobs.backend.store.retention import days, horizons, keep, retention
from otjobs.errors import ConfigurationError

pytestmark = pytest.mark.clickhouse
FIGURES = ("workflows", "queue_minutes", "workflow_minutes", "job_edges", "job_types")


def rows_of(store, table):
    return store.query(f"SELECT count() FROM {table}").rows[0][0]


def drop_what_is_due(store, *tables):
    for table in tables:
        store.command(f"OPTIMIZE TABLE {table} FINAL")


@pytest.mark.parametrize(("text", "length"), [("14d", 14), ("8w", 56), ("2y", 730), ("forever", 0)])
def test_lengths(text, length):
    assert days(text) == length


@pytest.mark.parametrize("text", ["", "14", "d", "0d", "-3d", "90m", "99999y", "1.5d"])
def test_no_lengths(text):
    with pytest.raises(ConfigurationError, match="no length of time"):
        days(text)


def test_every_table_has_a_retention(store):
    keep(store, {"spans": 14, "jobs": 90, "minutes": 730, "workflows": 730})
    tables = store.query(
        "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree'"
        " AND position(create_table_query, ' TTL ') = 0 ORDER BY name"
    ).rows
    # One row a service; what was decided.
    assert [row[0] for row in tables] == ["otjobs_migrations", "otjobs_settings", "service_clock"]


def test_it_is_remembered_and_changed_later(store):
    assert retention(store) == {"spans": 0, "jobs": 0, "workflows": 0, "minutes": 0}
    assert keep(store, {"spans": 14, "jobs": 90}) == {"spans": 14, "jobs": 90}
    assert keep(store, {"spans": 14}) == {}
    assert keep(store, {"jobs": 30}) == {"jobs": 30}
    assert retention(store) == {"spans": 14, "jobs": 30, "workflows": 0, "minutes": 0}
    since = horizons(store)
    assert since.spans_kept_from == midnight(14)
    assert since.jobs_taken_from == midnight(30)
    # Half an hour later than what is taken.
    earlier = datetime.now(UTC) - timedelta(minutes=30)
    assert since.jobs_kept_from == earlier.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=30)
    # More is kept from now on: what is gone is gone.
    keep(store, {"jobs": 90, "spans": 0})
    assert horizons(store).jobs_taken_from == midnight(30)
    assert horizons(store).spans_kept_from == midnight(14)
    keep(store, {"jobs": 10})
    assert horizons(store).jobs_taken_from == midnight(10)


def test_figures_outlive_their_jobs_and_late_spans_change_nothing(store):
    old, new = (midnight(ago) + timedelta(hours=3, seconds=10) for ago in (9, 2))
    # A workflow of both days, and a minute in which jobs of both days have something to do.
    both = f"{777:032x}"
    start = nanoseconds(old)
    crossing = [
        span("process", both, "early", "order", start, 1, enqueued_at=start, attempt=1, outcome="success", dispatched=1),
        span(
            "process", both, "late", "mail", nanoseconds(new), 1, enqueued_at=nanoseconds(new), attempt=1, outcome="success",
            dispatched=0, parent_id="early", parent_type="order", parent_attempt=1,
        ),
        span(
            "process", f"{778:032x}", "delayed", "order", nanoseconds(new) + S, 1, enqueued_at=start, attempt=1,
            due_at=nanoseconds(new), outcome="success", dispatched=0,
        ),
    ]  # fmt: skip
    store.insert_spans([*workflow(1, old), *workflow(2, new), *crossing, failure(5, old)])
    clickhouses.age(store)
    before = figures(store)
    assert len(before["jobs"]) == 7
    # When the older day passes out of retention
    keep(store, {"spans": 14, "jobs": 5, "minutes": 730, "workflows": 730})
    after = figures(store)
    assert {name: after[name] for name in FIGURES} == {name: before[name] for name in FIGURES}
    assert {row[3] for row in after["jobs"]} == {"o2", "m2", "late"}
    # and its bytes go
    drop_what_is_due(
        store, "otel_traces", "attempt_states", "minute_rows", "workflow_rows", "minute_marks", "workflow_marks"
    )
    assert rows_of(store, "attempt_states") == 3
    # and spans arrive for it, and for the minute and the workflow that it shares with the newer day:
    late = workflow(3, old + timedelta(seconds=5))
    store.insert_spans(late)
    store.insert_spans([crossing[0], crossing[1], crossing[2]])
    child = {"parent_id": "early", "parent_type": "order", "parent_attempt": 1}
    store.insert_spans(
        [span("process", both, "more", "mail", nanoseconds(new) + 2 * S, 1, enqueued_at=nanoseconds(new), **child)]
    )
    for _ in range(2):
        got = figures(store)
        assert {name: got[name] for name in FIGURES} == {name: before[name] for name in FIGURES}
        assert {row[3] for row in got["jobs"]} == {"o2", "m2", "late", "more"}
        clickhouses.age(store)
    # The late spans are there as spans.
    assert store.query("SELECT count() FROM otel_traces WHERE TraceId = {id:String}", {"id": f"{3:032x}"}).rows == [
        (4,)
    ]


def test_spans_go_by_the_day(store):
    store.insert_spans([*workflow(1, midnight(6)), *workflow(2, midnight(3)), *workflow(3, midnight())])
    keep(store, {"spans": 4})
    drop_what_is_due(store, "otel_traces", "otel_traces_trace_id_ts")
    for table in ("otel_traces", "otel_traces_trace_id_ts"):
        assert store.query(f"SELECT uniqExact(TraceId) FROM {table}").rows == [(2,)]
    assert len(figures(store, "jobs")["jobs"]) == 6


def test_what_arrives_for_a_day_that_is_kept_counts(store):
    keep(store, {"jobs": 5})
    store.insert_spans(workflow(1, midnight(5) + timedelta(minutes=1)))
    store.insert_spans(workflow(2, midnight(6) + timedelta(hours=23)))
    assert {row[3] for row in figures(store, "jobs")["jobs"]} == {"o1", "m1"}
    assert len(figures(store, "workflows")["workflows"]) == 1


def test_a_label_is_forgotten_everywhere(store):
    at = midnight(2) + timedelta(hours=3)
    mine, other = {"labels": {"customer": "42"}}, {"labels": {"customer": "7"}}
    shared = workflow(3, at + timedelta(minutes=2), **other)
    theirs = [list(row) for row in workflow(3, at + timedelta(minutes=2), **mine)[2:]]
    http = other_span(f"{1:032x}", nanoseconds(at), **{"http.url": "/customers/42"})
    store.insert_spans([*workflow(1, at, **mine), http])
    store.insert_spans(workflow(2, at + timedelta(minutes=1), **other))
    store.insert_spans([*shared[:2], *map(tuple, theirs)])
    clickhouses.age(store)
    before = figures(store)
    assert forget(store, "customer", "42", dry=True) == Forgotten(
        jobs=3, attempts=3, workflows=1, shared_workflows=1, spans=7
    )
    assert figures(store) == before
    assert forget(store, "customer", "42") == Forgotten(jobs=3, attempts=3, workflows=1, shared_workflows=1, spans=7)
    after = figures(store)
    assert {row[3] for row in after["jobs"]} == {"o2", "m2", "o3"}
    assert {row[3] for row in after["attempts"]} == {"o2", "m2", "o3"}
    assert store.query("SELECT count(), countIf(mapContains(SpanAttributes, 'http.url')) FROM otel_traces").rows == [
        (6, 0)
    ]
    for table in ("otel_traces_trace_id_ts", "workflow_rows", "workflow_marks"):
        column = "TraceId" if table.startswith("otel") else "workflow_id"
        assert not store.query(f"SELECT count() FROM {table} WHERE {column} = {{id:String}}", {"id": f"{1:032x}"}).rows[
            0
        ][0]
    # Figures that name nobody stay, also when spans of the others arrive again.
    store.insert_spans(workflow(2, at + timedelta(minutes=1), **other))
    store.insert_spans(shared[:2])
    for _ in range(2):
        got = figures(store)
        assert [row for row in before["workflows"] if row[0] != f"{1:032x}"] == got["workflows"]
        for view in ("queue_minutes", "job_edges", "job_types"):
            assert got[view] == before[view]
        clickhouses.age(store)
    assert forget(store, "customer", "42").jobs == 0
    assert [row[0] for row in store.query("SHOW TABLES LIKE 'forget%'").rows] == []
    with pytest.raises(ConfigurationError):
        forget(store, "cust'omer", "42")


def test_forgetting_now_computes_what_is_not_settled_from_what_is_left(store):
    now = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=5)
    store.insert_spans(workflow(1, now, labels={"customer": "it's {odd} \\"}))
    store.insert_spans(workflow(2, now))
    assert forget(store, "customer", "it's {odd} \\").jobs == 2
    got = figures(store)
    assert {row[3] for row in got["jobs"]} == {"o2", "m2"}
    assert sum(row[4] for row in got["queue_minutes"]) == 2
