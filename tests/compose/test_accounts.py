"""deploy/clickhouse/users.xml on the real server: each account can do its work, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from compose_project import SECRETS
from panel_history import History
from panels import OVERVIEW, TRACE, alert_rules, alert_sql, panels, run_panel

from otjobs.backend.store import connect
from otjobs.errors import AccountError, QueryError

pytestmark = pytest.mark.clickhouse

NOW = datetime.now(UTC)
FOR_PEOPLE = [
    "jobs",
    "attempts",
    "workflows",
    "queue_minutes",
    "workflow_minutes",
    "job_types",
    "job_edges",
    "pipeline_health",
    "clock_skew",
    "last_arrival",
    "otel_traces",
    "otel_traces_trace_id_ts",
]


@pytest.fixture(scope="module")
def filled(accounts):
    """The writer stores a history."""
    history = History(seed=1, size=200, now=int(NOW.timestamp()) * 1_000_000_000, minutes=10)
    history.store(accounts["writer"])
    return accounts


def test_what_the_writer_stored_is_in_the_views(filled):
    (row,) = filled["reader"].query("SELECT count(), countIf(state = 'succeeded') FROM jobs").rows
    assert row[0] > 200
    assert row[1] > 10


def test_the_writer_may_insert_many_days_at_once(accounts):
    history = History(seed=2, size=200, now=int(NOW.timestamp()) * 1_000_000_000)
    day = 86_400 * 1_000_000_000
    rows = [(row[0] - number * day, *row[1:]) for number, row in enumerate(history.spans()[:150])]
    accounts["writer"].insert_spans(rows)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count() FROM otel_traces",
        "SELECT count() FROM jobs",
        "SELECT count() FROM attempt_states",
        "INSERT INTO attempt_states (job_id) VALUES ('x')",
        "TRUNCATE TABLE otel_traces",
        "CREATE TABLE x (a Int8) ENGINE = Memory",
    ],
)
def test_the_writer_may_do_nothing_else(accounts, sql):
    with pytest.raises(QueryError, match="Not enough privileges"):
        accounts["writer"].command(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO otel_traces (TraceId) VALUES ('x')",
        "TRUNCATE TABLE otel_traces",
        "ALTER TABLE otel_traces DELETE WHERE 1",
        "DROP VIEW jobs",
        "CREATE TABLE x (a Int8) ENGINE = Memory",
        "SELECT count() FROM attempt_states",
        "SELECT 1 SETTINGS max_threads = 1",
    ],
)
def test_the_reader_may_change_nothing(accounts, sql):
    with pytest.raises(QueryError, match="readonly mode|Not enough privileges"):
        accounts["reader"].command(sql)


def test_the_reader_may_set_what_grafana_sets(filled):
    reader = filled["reader"]
    assert reader.query("SELECT 1 SETTINGS max_execution_time = 60").rows == [(1,)]
    filtered = reader.query("SELECT count() FROM jobs SETTINGS additional_table_filters = {'jobs': 'state = \\'no\\''}")
    assert filtered.rows == [(0,)]


def test_the_reader_may_ask_all_that_grafana_asks(filled):
    reader, start = filled["reader"], NOW - timedelta(hours=1)
    for dashboard in (OVERVIEW, TRACE):
        variables = {"trace_id": "a" * 32} if dashboard == TRACE else {}
        for title in panels(dashboard):
            run_panel(reader, dashboard, title, start, NOW, variables)
    (row,) = run_panel(reader, OVERVIEW, "Failure ratio", start, NOW)
    assert 0 < row["failure_ratio"] < 1
    for uid in alert_rules():
        assert (
            len(reader.query(f"SELECT count() FROM ({alert_sql(uid, NOW)})").rows) == 1
        )  # no row means that all is well


def test_the_reader_may_read_every_view_that_is_for_people(filled):
    names = [name for (name,) in filled["owner"].query("SHOW TABLES").rows]
    there = [name for name in FOR_PEOPLE if name in names]
    assert {"jobs", "attempts", "workflows", "otel_traces"} <= set(there)
    for name in there:
        filled["reader"].query(f"SELECT count() FROM (SELECT * FROM {name} LIMIT 1)")


@pytest.mark.parametrize("account", ["owner", "writer", "reader"])
@pytest.mark.parametrize("password", ["", "wrong", *SECRETS.values()])
def test_nobody_gets_in_with_another_password(server, account, password):
    if password == SECRETS[f"OTJOBS_{account.upper()}_PASSWORD"]:
        connect(f"http://otjobs_{account}:{password}@127.0.0.1:{server.http_port}/otjobs").close()
        return
    with pytest.raises(AccountError, match="Authentication failed"):
        connect(f"http://otjobs_{account}:{password}@127.0.0.1:{server.http_port}/otjobs")
