"""Whatever spans hold, every view, named query, panel and alert answers, within bounds, and tells the same of other jobs."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta

import odd_spans
import panels
import pytest

from otjobs.backend.store import connect
from otjobs.backend.store.migrate import migrate
from otjobs.backend.store.sql_files import named_query, query_names
from otjobs.errors import QueryError
from otjobs.testing import job_span_row

SEEDS = int(os.environ.get("OTJOBS_ODD_SEEDS", "1"))
"""How many times 150 odd spans."""

KEPT = ()
"""Seeds that once found something: they are always tried."""

BOUNDS = "max_execution_time = 60, max_memory_usage = 1000000000, max_rows_to_read = 5000000"
VIEWS = {
    "jobs": "enqueued_at",
    "attempts": "enqueued_at",
    "open_jobs": "enqueued_at",
    "workflows": "started_at",
    "queue_minutes": "minute",
    "workflow_minutes": "minute",
    "job_edges": "minute",
    "job_types": "last_started_at",
    "pipeline_health": "minute",
    "clock_skew": "minute",
}
PARAMETERS = {"job_id": "odd1", "workflow_id": "0", "prefix": "o", "label": "customer"}
MINE = "system = 'celery'"
FIGURES = {
    "jobs": MINE,
    "attempts": MINE,
    "open_jobs": MINE,
    "workflows": "workflow_id IN (SELECT workflow_id FROM jobs WHERE system = 'celery')",
    "queue_minutes": MINE + " AND minute < toStartOfMinute(toDateTime({now}))",
    "job_edges": MINE,
    "job_types": MINE,
}
CLOCKED = {"silent_seconds"}
ALL = "* EXCEPT (queue_state, run_state)"  # no client reads states


def span(number, operation, began, seconds, **told):
    """A span of a job that was enqueued an hour ago, `began` seconds later."""
    at = time.time_ns() - 3600 * odd_spans.S + began * odd_spans.S
    told = {"otjobs.job.enqueued_at": at - (0 if operation == "send" else 5 * odd_spans.S)} | told
    named = {"trace_id": f"{number:032x}", "span_id": f"{number:08x}{began:08x}", "job_id": str(number)}
    own = {"job_type": "order", "queue": "orders", "service": "shop", "attempt": 1, "attributes": told}
    return tuple(job_span_row(operation, at, at + seconds * odd_spans.S, **named, **own).values())


def real_spans():
    """Twenty jobs that ran, and one that waits."""
    ran = [
        span(n, "process", n * 60 + 5, n, **{"otjobs.job.outcome": "failure" if n % 5 == 0 else "success"})
        for n in range(1, 21)
    ]
    return [*ran, span(21, "send", 600, 0)]


def figures(store, now):
    """What the views say of the real jobs, but for what the clock alone changes."""
    found = {}
    for view, where in FIGURES.items():
        rows = store.query(f"SELECT {ALL} FROM {view} WHERE {where.format(now=now)}").dicts()
        found[view] = sorted(({k: v for k, v in row.items() if k not in CLOCKED} for row in rows), key=str)
    return found


def questions(store):
    """Yield the name, text and parameters of everything that is ever asked."""
    now = datetime.now(UTC)
    for view, column in VIEWS.items():
        yield f"{view}, how many", f"SELECT count() FROM {view}", {}
        yield f"{view}, some", f"SELECT {ALL} FROM {view} LIMIT 100", {}
        yield f"{view}, last hour", f"SELECT {ALL} FROM {view} WHERE {column} >= now() - 3600", {}
    for name in query_names():
        query = named_query(name)
        given = {key: value for key, value in PARAMETERS.items() if key in query.types}
        yield f"query {name}", query.sql, {**query.defaults, **given}
    for dashboard, choice in ((panels.OVERVIEW, None), (panels.TRACE, {"trace": f"{1:032x}"})):
        for title in panels.panels(dashboard):
            variables = choice if choice and set(choice) <= set(panels.chosen(dashboard)) else None
            yield f"panel {title}", panels.panel_sql(dashboard, title, now - timedelta(hours=6), now, variables), {}
    for rule in panels.alert_rules():
        yield f"alert {rule}", panels.alert_sql(rule, now), {}


@pytest.fixture(params=["chdb", pytest.param("server", marks=pytest.mark.clickhouse)])
def database(request, tmp_path):
    if request.param == "chdb":
        store = connect(f"chdb://{tmp_path}")
        migrate(store)
        yield store
        store.close()
    else:
        yield request.getfixturevalue("new_store")()


def test_odd_spans_cost_nobody_anything(database):
    # Given real jobs and what is told of them
    database.insert_spans(real_spans())
    now = int(time.time())
    before = figures(database, now)
    assert [len(before[view]) for view in ("jobs", "attempts", "open_jobs")] == [21, 20, 1]
    # When odd spans arrive, which all are stored
    for seed in (*KEPT, *range(SEEDS)):
        for each in (odd_spans.odd_spans(seed), odd_spans.odd_spans(seed)):
            database.insert_spans(each)
    # Then everything that may be asked is answered within bounds
    failed = []
    for name, sql, params in questions(database):
        try:
            database.query(f"{sql.strip().rstrip(';')}\nSETTINGS {BOUNDS}", params)
        except QueryError as error:
            failed.append(f"{name}: {error}"[:600])
    assert not failed, "\n".join(failed)
    # And rows are stored
    for (view,) in database.query("SELECT view FROM system.view_refreshes WHERE database = currentDatabase()").rows:
        database.command(f"SYSTEM REFRESH VIEW {view}")
        database.command(f"SYSTEM WAIT VIEW {view}")
    # And the real jobs are as they were, to every reader
    assert figures(database, now) == before


NOW = time.time_ns() - 5 * odd_spans.S
ODD = {
    "a beacon that promises the next in 1e308 s": [
        span(50, "receive", 3595, 1, **{"otjobs.beacon.interval_seconds": "1e308", "otjobs.job.enqueued_at": str(NOW)})
    ],
    "a clock in seconds": [span(50, "send", 3595, 1, **{"otjobs.job.enqueued_at": str(NOW // odd_spans.S)})],
    "a clock in milliseconds": [
        span(
            50 + n, "process", 3595, 1, **{"otjobs.job.enqueued_at": str(NOW // 10**6), "otjobs.job.type": f"odd{n}"}
        )
        for n in range(24)
    ],
    "a clock in 2200": [
        span(50, "process", 3595, 1, **{"otjobs.job.enqueued_at": str(7_258_118_400 * odd_spans.S)})
    ],
}  # fmt: skip


@pytest.mark.parametrize("what", ODD)
def test_one_odd_span_costs_nobody_anything(fresh, what):
    # Given one span, or one service's
    fresh.insert_spans(ODD[what])
    # Then every view can be read, all of it, in little memory
    for view in VIEWS:
        fresh.query(f"SELECT count() FROM {view} SETTINGS max_memory_usage = 200000000, max_execution_time = 60")
    # And wrong times are told, and have no minutes
    doubtful = 0 if "beacon" in what else len(ODD[what])
    assert fresh.query("SELECT sum(doubtful_times) FROM pipeline_health").rows == [(doubtful,)]
    minutes = "SELECT count() FROM queue_minutes WHERE minute < now() - 7200 OR minute > now() + 60"
    assert fresh.query(minutes).rows == [(0,)]


@pytest.fixture
def fresh(tmp_path):
    store = connect(f"chdb://{tmp_path}")
    migrate(store)
    yield store
    store.close()


def test_a_clock_far_ahead_makes_nothing_lost(fresh):
    # Given a run that was silent for an hour in a service of which nothing is heard, but for one span of the next century
    fresh.insert_spans([span(1, "receive", 0, 1, **{"otjobs.job.enqueued_at": str(NOW - 3600 * odd_spans.S)})])
    ahead = list(span(2, "process", 0, 1))
    ahead[0] += 100 * 365 * 86400 * odd_spans.S
    fresh.insert_spans([tuple(ahead)])
    # Then it runs still, for all that is known
    assert fresh.query("SELECT state FROM jobs WHERE job_id = '1'").rows == [("running",)]


def test_only_times_more_than_a_day_ahead_have_no_minutes(fresh):
    # Given a job that a clock two days ahead enqueued
    at = time.time_ns() + 2 * 86400 * odd_spans.S
    fresh.insert_spans([span(1, "send", 0, 0, **{"otjobs.job.enqueued_at": str(at)})])
    counted = "SELECT sum(dispatched) FROM queue_minutes"
    assert fresh.query(counted).rows == [(0,)]
    # When one is told of that a clock hours ahead enqueued
    near = time.time_ns() + 20 * 3600 * odd_spans.S
    fresh.insert_spans([span(2, "send", 0, 0, **{"otjobs.job.enqueued_at": str(near)})])
    # Then that one counts
    assert fresh.query(counted).rows == [(1,)]
