"""Rebuilt from stored spans, derived tables are what they were, whatever was done to them and whenever it was cut off."""

from __future__ import annotations

import re
import threading
import time
from datetime import timedelta
from pathlib import Path

import clickhouses
import pytest
from jobs_of import failure, figures, midnight, nanoseconds, span, workflow
from rebuilding import killed

from otjobs.backend.store import connect
from otjobs.backend.store.rebuild import rebuild
from otjobs.backend.store.rebuild_plan import TABLES, plan, unfinished
from otjobs.backend.store.retention import keep
from otjobs.errors import StoreError

pytestmark = pytest.mark.clickhouse
DAY = midnight(3)


def history():
    """Three days; a job that was enqueued on the second runs on the third, and a publication failed."""
    spans = []
    for number in range(12):
        spans += workflow(number + 1, DAY + timedelta(days=number % 3, hours=number, minutes=number))
    spans += workflow(100, DAY + timedelta(hours=23, minutes=59, seconds=50), wait=20)
    spans.append(failure(200, DAY + timedelta(hours=5)))
    return spans


CORRUPTIONS = {
    "values that no minimum or maximum repairs": [
        ("INSERT INTO attempt_states (hour, system, queue, job_type, enqueued_at, workflow_id, job_id, attempt, started_at,"
        " ending) SELECT hour, system, queue, job_type, enqueued_at, workflow_id, job_id, attempt,"
        " toDateTime64(1000, 9, 'UTC'), (9, ending.2 + toIntervalHour(5), 'x', 'lost', '', 1, 7, '', '', '', '', '', '', 0.)"
        " FROM attempt_states FINAL"),
    ],
    "jobs deleted": ["ALTER TABLE attempt_states DELETE WHERE job_type = 'order' SETTINGS mutations_sync = 2"],
    "jobs that never were": [
        ("INSERT INTO attempt_states (hour, system, queue, job_type, enqueued_at, workflow_id, job_id, attempt)"
        " SELECT hour, 'ghosts', queue, job_type, enqueued_at, concat(workflow_id, 'x'), job_id, 3 FROM attempt_states FINAL"),
    ],
    "workflow rows wrong, from the future": [
        ("INSERT INTO workflow_rows (day, workflow_id, jobs, computed_at) SELECT day, workflow_id, 77, now64(3)"
        " + toIntervalYear(1) FROM workflow_rows FINAL WHERE workflow_id != ''"),
    ],
    "workflow rows deleted": [
        "ALTER TABLE workflow_rows DELETE WHERE workflow_id LIKE '%5' SETTINGS mutations_sync = 2",
        "TRUNCATE TABLE workflow_marks",
    ],
    "workflows that never were": [
        ("INSERT INTO workflow_rows (day, workflow_id, jobs, complete, computed_at)"
        " SELECT day, concat(workflow_id, 'x'), 5, 1, computed_at FROM workflow_rows FINAL WHERE workflow_id != ''"),
    ],
    "minutes wrong, from the future": [
        ("INSERT INTO minute_rows SELECT * REPLACE (dispatched + 5 AS dispatched, now64(3) + toIntervalYear(1) AS computed_at)"
        " FROM minute_rows"),
    ],
    "minutes deleted": [
        "ALTER TABLE minute_rows DELETE WHERE toHour(minute) > 1 SETTINGS mutations_sync = 2",
        "TRUNCATE TABLE minute_marks",
    ],
    "minutes in which nothing happened": [
        "INSERT INTO minute_rows SELECT * REPLACE (minute + 1020 AS minute) FROM minute_rows",
    ],
    "failed publications": [
        "INSERT INTO dispatch_failures SELECT * REPLACE ('ghost' AS system) FROM dispatch_failures",
        "ALTER TABLE dispatch_failures DELETE WHERE system = 'celery' SETTINGS mutations_sync = 2",
    ],
}  # fmt: skip

ROUNDS = (
    (
        "values that no minimum or maximum repairs",
        "workflow rows wrong, from the future",
        "minutes wrong, from the future",
        "failed publications",
    ),
    (
        "jobs deleted",
        "jobs that never were",
        "workflow rows deleted",
        "workflows that never were",
        "minutes deleted",
        "minutes in which nothing happened",
    ),
)


def days(store):
    return plan(store, DAY.date(), (DAY + timedelta(days=2)).date())


@pytest.mark.parametrize("round_", [0, 1])
def test_whatever_was_done_to_derived_tables(store, round_):
    store.insert_spans(history())
    clickhouses.age(store)
    right = figures(store)
    assert len(right["jobs"]) == 26
    # Given tables that say other things
    for what in ROUNDS[round_]:
        for sql in CORRUPTIONS[what]:
            store.command(sql)
    corrupt = figures(store)
    assert {view for view in right if corrupt[view] == right[view]} <= {"job_edges"}
    # When they are rebuilt, then they say what they said,
    counts = rebuild(store, days(store))
    got = figures(store)
    for view, rows in right.items():
        assert got[view] == rows, view
    assert {(count.day, count.table) for count in counts} >= {(str(DAY.date()), table) for table in TABLES[:6]}
    # and also once no reader computes anything.
    clickhouses.age(store)
    assert figures(store) == right
    assert store.query("SHOW TABLES LIKE 'rebuild%'").rows == []


def test_tables_without_days(store):
    store.insert_spans(history())
    tables = {
        "otel_traces_trace_id_ts": "SELECT TraceId, min(Start), max(End) FROM otel_traces_trace_id_ts GROUP BY 1 ORDER BY 1",
        "service_clock": "SELECT service, max(newest) FROM service_clock GROUP BY 1 ORDER BY 1",
    }
    right = {table: store.query(sql).rows for table, sql in tables.items()}
    store.command("INSERT INTO otel_traces_trace_id_ts SELECT TraceId, 0, End + 99999 FROM otel_traces_trace_id_ts")
    store.command("INSERT INTO service_clock SELECT service, newest + toIntervalYear(5) FROM service_clock")
    store.command("INSERT INTO service_clock SELECT 'gone', toDateTime64(5, 9, 'UTC')")
    counts = rebuild(store, days(store), list(tables))
    assert {(count.day, count.table) for count in counts} == {("", table) for table in tables}
    right["service_clock"].insert(0, ("gone", store.query("SELECT toDateTime64(5, 9, 'UTC')").rows[0][0]))
    assert {table: store.query(sql).rows for table, sql in tables.items()} == right


@pytest.mark.usefixtures("not_refreshed")
def test_readers_see_no_gap_while_spans_go_on_arriving(store, url):
    store.insert_spans(history())
    clickhouses.age(store)
    old = {row[0] for row in store.query("SELECT job_id FROM jobs").rows}
    stop, inserted, troubles = threading.Event(), [], []

    def write():
        mine, number = connect(url), 1000
        try:
            while not stop.is_set():
                spans = workflow(number, DAY + timedelta(minutes=number % 1000, seconds=7))
                mine.insert_spans(spans)
                inserted.extend((f"o{number}", f"m{number}"))
                number += 1
        except Exception as error:  # noqa: BLE001  (told below)
            troubles.append(f"writer: {error!r}")
        finally:
            mine.close()

    def read():
        mine = connect(url)
        try:
            while not stop.is_set():
                known = old | set(inserted)
                rows = mine.query("SELECT job_id, attempts FROM jobs").rows
                if missing := known - {row[0] for row in rows}:
                    troubles.append(f"jobs missing: {sorted(missing)[:5]}")
                if twice := [row for row in rows if row[1] != 1]:
                    troubles.append(f"attempts: {twice[:5]}")
                if len(rows) != len({row[0] for row in rows}):
                    troubles.append("a job is there twice")
                ids = {row[0] for row in mine.query("SELECT workflow_id FROM workflows").rows}
                if missing := {job[1:] for job in known} - {str(int(i, 16)) for i in ids}:
                    troubles.append(f"workflows missing: {sorted(missing)[:5]}")
        except Exception as error:  # noqa: BLE001
            troubles.append(f"reader: {error!r}")
        finally:
            mine.close()

    threads = [threading.Thread(target=target) for target in (write, read)]
    for thread in threads:
        thread.start()
    time.sleep(1)
    for _ in range(2):
        rebuild(store, days(store)[:1], ["attempt_states"])
    stop.set()
    for thread in threads:
        thread.join()
    assert troubles == []
    assert len(inserted) > 10
    live = store.query(STATES).rows
    assert len(live) == len(old) + len(inserted)
    rebuild(store, days(store)[:1], ["attempt_states"])
    assert store.query(STATES).rows == live


STATES = "SELECT hour, job_id, attempt, started_at, ending FROM attempt_states FINAL ORDER BY job_id, attempt"


@pytest.mark.usefixtures("not_refreshed")
@pytest.mark.parametrize(("where", "after"), [("derive", 3), ("save", 7), ("_store_rows", 1), ("_clean_up", 0)])
def test_killed_and_called_again(store, url, where, after):
    store.insert_spans(history())
    right = store.query(STATES).rows
    for sql in CORRUPTIONS["values that no minimum or maximum repairs"]:
        store.command(sql)
    first, last = DAY.date(), (DAY + timedelta(days=2)).date()
    killed(url, first, last, where, after)
    store.insert_spans(workflow(500, DAY + timedelta(hours=2)))
    assert unfinished(store) is not None
    some = ["attempt_states", "dispatch_failures", "otel_traces_trace_id_ts", "service_clock"]
    counts = rebuild(store, days(store), some, take_over=True)
    assert unfinished(store) is None
    assert store.query("SHOW TABLES LIKE 'rebuild%'").rows == []
    assert {(count.day, count.table) for count in counts} >= {(str(day), "attempt_states") for day in days(store)}
    got = store.query(STATES).rows
    assert [row for row in got if row[1] not in ("o500", "m500")] == right
    assert len(got) == len(right) + 2
    assert store.query("SELECT jobs FROM workflows WHERE workflow_id = {id:String}", {"id": f"{500:032x}"}).rows == [
        (2,)
    ]


def test_days_outside_the_retention_of_spans_are_refused_by_name(store):
    store.insert_spans([*history(), *workflow(900, midnight(9))])
    keep(store, {"spans": 7})
    with pytest.raises(
        StoreError, match=f"cannot rebuild {midnight(9):%Y-%m-%d} to {midnight(7):%Y-%m-%d}: not all spans"
    ):
        plan(store, midnight(9).date(), None)
    assert plan(store, midnight(6).date(), midnight(5).date()) == [midnight(6).date(), midnight(5).date()]
    assert midnight(9).date() not in plan(store, None, None)
    # A longer retention does not bring them back.
    keep(store, {"spans": 30})
    with pytest.raises(StoreError, match=f"{midnight(7):%Y-%m-%d}"):
        plan(store, midnight(7).date(), None)
    assert set(TABLES) >= {"attempt_states", "workflow_rows", "minute_rows"}


def test_a_service_that_is_told_nothing_of_a_day_loses_nothing(store):
    """Spans were truncated by hand: nothing would be left."""
    store.insert_spans(history())
    store.command("TRUNCATE TABLE otel_traces")
    with pytest.raises(StoreError, match="no span is stored since then"):
        days(store)


def test_a_beacon_of_a_job_that_still_runs(store):
    now = midnight()
    start = nanoseconds(now)
    store.insert_spans([span("receive", "b" * 32, "1", "long", start, 1, enqueued_at=start, attempt=1)])
    before = figures(store, "jobs", "attempts")
    store.command("TRUNCATE TABLE attempt_states")
    rebuild(store, plan(store, None, None))
    assert figures(store, "jobs", "attempts") == before
    assert before["jobs"]


@pytest.mark.usefixtures("not_refreshed")
def test_jobs_of_other_instrumentations(store):
    """Made again from their spans by trace; and those from the spans as they arrived, by the statement in the docs."""

    def foreign(kind, at, seconds, **told):
        row = list(span("send", "e" * 32, "f1", "", nanoseconds(at), seconds))
        row[2], row[6] = f"{kind:e<16}".lower().encode().hex()[:16], kind
        row[11] = {"celery.task_name": "mail.send", "messaging.message.id": "f1", **told}
        return tuple(row)

    at = DAY + timedelta(hours=2)
    store.insert_spans([
        foreign("Producer", at, 0.01, **{"celery.action": "apply_async", "messaging.destination": "mail"}),
        foreign("Consumer", at + timedelta(seconds=2), 3, **{"celery.action": "run", "celery.state": "SUCCESS"}),
    ])  # fmt: skip
    right = figures(store, "jobs", "attempts")
    assert len(right["jobs"]) == 1
    store.command("TRUNCATE TABLE attempt_states")
    rebuild(store, [DAY.date()], ["attempt_states"])
    assert figures(store, "jobs", "attempts") == right
    # Given nothing is left of them but the spans
    for table in ("attempt_states", "foreign_spans"):
        store.command(f"TRUNCATE TABLE {table}")
    rebuild(store, [DAY.date()], ["attempt_states"])
    assert figures(store, "jobs") == {"jobs": []}
    text = (Path(__file__).resolve().parents[2] / "docs" / "howto" / "rebuild.md").read_text()
    (told,) = re.findall(r"`(INSERT INTO otjobs\.foreign_candidates [^`]*)`", text)
    for _ in range(2):
        store.command(
            " ".join(told.split())
            .replace("otjobs.f", "f")
            .replace("otjobs.o", "o")
            .replace("2026-11-02", str(DAY.date()))
        )
        assert figures(store, "jobs", "attempts") == right
