"""Accounts: each can do its work and nothing else; as SQL and as a file, from one definition."""

from __future__ import annotations

import re
from pathlib import Path

import parts
import pytest
from jobs_of import midnight, workflow

from otjobs.errors import QueryError
from otjobs.store import connect
from otjobs.store.migrate import migrate
from otjobs.store.roles import PASSWORDS, grant, users_xml
from otjobs.store.text import fill, split, statement

pytestmark = pytest.mark.clickhouse
ROOT = Path(__file__).resolve().parents[2]
# As far as the file of the server's package matters: who is there before ours.
USERS = """<clickhouse><profiles><default/></profiles><quotas><default/></quotas><users><default><password/>
<networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota></default></users></clickhouse>"""
VIEWS = (
    "jobs", "open_jobs", "attempts", "workflows", "queue_minutes", "workflow_minutes", "job_types", "job_edges",
    "pipeline_health", "clock_skew", "otel_traces", "otel_traces_trace_id_ts",
)  # fmt: skip


@pytest.fixture(scope="module")
def accounts(tmp_path_factory):
    """A server configured by files, and a store for each account; the owner has migrated."""
    folder = tmp_path_factory.mktemp("accounts")
    (folder / "users.d").mkdir()
    (folder / "users.xml").write_text(USERS)
    (folder / "users.d" / "otjobs.xml").write_text(users_xml({"reader": "MY_READER"}))
    config = folder / "config.xml"
    path = folder / "users.xml"
    config.write_text(
        f"<clickhouse><user_directories><users_xml><path>{path}</path></users_xml></user_directories></clickhouse>"
    )
    secrets = {PASSWORDS["owner"]: "a", PASSWORDS["writer"]: "b", "MY_READER": "c"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in secrets.items():
            patch.setenv(name, value)
        with parts.clickhouse_server(folder / "server", config=config) as server:
            server.query("CREATE DATABASE secrets")
            server.query("CREATE TABLE secrets.t ENGINE = Log AS SELECT 1 AS x")
            stores = {}
            for (name, _), word in zip(PASSWORDS.items(), "abc", strict=True):
                stores[name] = connect(f"http://otjobs_{name}:{word}@127.0.0.1:{server.http_port}/otjobs")
                if name == "owner":
                    migrate(stores[name])
                    stores[name].insert_spans(workflow(1, midnight(1)))
            yield stores
            for store in stores.values():
                store.close()


def test_the_writer_writes_through_every_view_and_reads_nothing(accounts):
    writer, reader = accounts["writer"], accounts["reader"]
    writer.insert_spans(workflow(1, midnight(1)))
    assert reader.query("SELECT count() FROM jobs").rows == [(2,)]
    assert reader.query("SELECT jobs FROM workflows").rows == [(2,)]
    for table in (*VIEWS, "attempt_states", "otjobs_settings", "horizons", "secrets.t"):
        with pytest.raises(QueryError, match="Not enough privileges"):
            writer.query(f"SELECT count() FROM {table}")
    for sql in (
        "INSERT INTO attempt_states (job_id) VALUES ('x')",
        "TRUNCATE TABLE otel_traces",
        "DROP TABLE otel_traces",
    ):
        with pytest.raises(QueryError, match="Not enough privileges"):
            writer.command(sql)


def test_the_reader_reads_every_view_and_nothing_else(accounts):
    reader = accounts["reader"]
    for view in VIEWS:
        assert reader.query(f"SELECT count() FROM (SELECT * FROM {view} LIMIT 1)").rows == [
            (int(view not in ("clock_skew", "open_jobs")),)
        ], view
    for table in ("attempt_states", "minute_rows", "otjobs_settings", "secrets.t", "system.users"):
        with pytest.raises(QueryError, match="Not enough privileges"):
            reader.query(f"SELECT * FROM {table}")
    for sql in (
        "INSERT INTO otel_traces (TraceId) VALUES ('x')", "TRUNCATE TABLE otel_traces", "CREATE TABLE x (a Int8) ENGINE = Log",
        "SET max_memory_usage = 0", "SYSTEM STOP MERGES attempt_states", "SELECT 1 SETTINGS max_threads = 1", "SET readonly = 0",
    ):  # fmt: skip
        with pytest.raises(QueryError, match="readonly mode|Not enough privileges|locked"):
            reader.command(sql)
    assert reader.query("SELECT 1 SETTINGS max_execution_time = 7").rows == [(1,)]
    filters = "additional_table_filters = {'jobs': 'job_type = \\'mail\\''}"
    assert reader.query(f"SELECT DISTINCT job_type FROM jobs SETTINGS {filters}").rows == [("mail",)]


def test_the_reader_has_limits(accounts):
    limits = accounts["reader"].query("SELECT getSetting('max_execution_time'), getSetting('max_memory_usage')").rows
    assert limits == [(120, 8_000_000_000)]


def test_a_batch_of_many_days_is_no_poison(accounts):
    rows = [workflow(1000 + day, midnight(day))[1] for day in range(101)]
    profile = accounts["writer"].query("SELECT getSetting('max_partitions_per_insert_block')").rows
    assert profile == [(0,)]
    accounts["writer"]._client.insert("otel_traces", rows, database="otjobs")
    assert accounts["reader"].query("SELECT uniqExact(toDate(enqueued_at)) FROM jobs").rows[0][0] >= 101


def test_the_deployed_file_is_the_definition():
    """Made anew with: otjobs migrate --roles-xml deploy/clickhouse/users.xml"""
    assert (ROOT / "deploy" / "clickhouse" / "users.xml").read_text() == users_xml({})


def test_every_contract_view_is_in_the_definition(store):
    text = statement("roles", "accounts")
    granted = re.findall(r"GRANT SELECT ON \{database\}\.(\w+) TO otjobs_reader", text)
    assert sorted(granted) == sorted([*VIEWS, "otjobs_migrations"])
    names = {row[0] for row in store.query("SELECT name FROM system.tables WHERE database = currentDatabase()").rows}
    assert set(granted) <= names


def test_the_statements_are_ones_that_a_server_understands(store):
    """Whether a server takes its accounts by SQL is its configuration's affair, and this one does not."""
    names = {"database": "otjobs", "writer_sha256": "0" * 64, "reader_sha256": "1" * 64}
    statements = split(fill(statement("roles", "accounts"), **names))
    assert len(statements) > 15
    for sql in statements:
        assert store.query("SELECT formatQuery({sql:String})", {"sql": sql}).rows[0][0]
    with pytest.raises(QueryError, match="otjobs migrate --roles-xml FILE"):
        grant(store, {"writer": "x", "reader": "y"})


def test_no_password_no_account(monkeypatch, url):
    from click.testing import CliRunner

    from otjobs.cli.app import cli

    monkeypatch.delenv("OTJOBS_WRITER_PASSWORD", raising=False)
    done = CliRunner().invoke(cli, ["migrate", "--roles", "--url", url])
    assert done.exit_code == 1
    assert "OTJOBS_WRITER_PASSWORD holds no password" in done.output


def test_the_file_is_written(tmp_path):
    from click.testing import CliRunner

    from otjobs.cli.app import cli

    file = tmp_path / "otjobs.xml"
    done = CliRunner().invoke(cli, ["migrate", "--roles-xml", str(file), "--writer-password-env", "MINE"])
    assert done.exit_code == 0, done.output
    assert '<password from_env="MINE"/>' in file.read_text()
