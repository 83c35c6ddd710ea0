"""Accounts: each can do its work and nothing else; as SQL and as a file, from one definition."""

from __future__ import annotations

import re
from pathlib import Path

import clickhouses
import pytest
from click.testing import CliRunner
from jobs_of import midnight, workflow

from otjobs.backend.cli.app import cli
from otjobs.backend.store import connect
from otjobs.backend.store.migrate import migrate
from otjobs.backend.store.roles import PASSWORDS, grant, users_xml
from otjobs.backend.store.sql_files import read
from otjobs.errors import AccountError, QueryError

pytestmark = pytest.mark.clickhouse
ROOT = Path(__file__).resolve().parents[2]
# As far as the file of the server's package matters: who is there before ours.
USERS = """<clickhouse><profiles><default/></profiles><quotas><default/></quotas><users><default><password/>
<networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota></default></users></clickhouse>"""
VIEWS = (
    "jobs", "open_jobs", "attempts", "workflows", "queue_minutes", "workflow_minutes", "job_types", "job_edges",
    "pipeline_health", "clock_skew", "last_arrival", "otel_traces", "otel_traces_trace_id_ts",
)  # fmt: skip


@pytest.fixture(scope="module", params=["file", "sql"])
def accounts(request, tmp_path_factory):
    """A server whose accounts are made by a file, or by SQL, and a store for each; the owner has migrated."""
    folder = tmp_path_factory.mktemp("accounts")
    config, engine = None, "oldest"
    if request.param == "file":
        config, engine = folder / "config.xml", clickhouses.ENGINE
        (folder / "users.d").mkdir()
        (folder / "users.xml").write_text(USERS)
        (folder / "users.d" / "otjobs.xml").write_text(users_xml({"reader": "MY_READER"}))
        users = f"<users_xml><path>{folder / 'users.xml'}</path></users_xml>"
        config.write_text(f"<clickhouse><user_directories>{users}</user_directories></clickhouse>")
    secrets = {PASSWORDS["owner"]: "a", PASSWORDS["writer"]: "b", "MY_READER": "c"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in secrets.items():
            patch.setenv(name, value)
        with clickhouses.clickhouse_server(folder / "server", config=config, engine=engine) as server:
            server.query("CREATE DATABASE secrets")
            server.query("CREATE TABLE secrets.t ENGINE = Log AS SELECT 1 AS x")
            where = f"@127.0.0.1:{server.http_port}/otjobs"
            owner = connect(f"http://{'otjobs_owner:a' if request.param == 'file' else 'default:'}{where}")
            migrate(owner)
            owner.insert_spans(workflow(1, midnight(1)))
            if request.param == "sql":
                grant(owner, {"writer": "old", "reader": "old"})
                # Again, with other passwords, as a user does it.
                done = CliRunner().invoke(
                    cli,
                    [
                        "migrate",
                        "--roles",
                        "--reader-password-env",
                        "MY_READER",
                        "--url",
                        server.database_url("otjobs"),
                    ],
                )
                assert "account otjobs_writer is ready\naccount otjobs_reader is ready" in done.output
            stores = {"owner": owner}
            for name, word in (("writer", "b"), ("reader", "c")):
                stores[name] = connect(f"http://otjobs_{name}:{word}{where}")
            yield stores
            for store in stores.values():
                store.close()


def test_old_passwords_are_of_no_use(accounts):
    url = re.sub(r"//[^@]*@", "//otjobs_reader:old@", accounts["owner"].url)
    with pytest.raises(AccountError, match="Authentication failed"):
        connect(url)


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


@pytest.mark.parametrize("seconds", ["0", "121", "1000000000", "0.5", "-1"])
def test_the_reader_cannot_lift_its_time_limit(accounts, seconds):
    for sql in (
        f"SELECT 1 SETTINGS max_execution_time = {seconds}",
        f"SELECT * FROM jobs SETTINGS max_execution_time = {seconds}",
    ):
        with pytest.raises(QueryError, match="max_execution_time|Syntax error|CANNOT_PARSE|parse"):
            accounts["reader"].query(sql)
    url = accounts["reader"]._address
    with pytest.raises(QueryError, match="max_execution_time|parse"):
        accounts["reader"]._call(
            lambda: accounts["reader"]._client.query("SELECT 1", settings={"max_execution_time": seconds})
        )
    assert url.startswith("http://otjobs_reader")
    assert accounts["reader"].query("SELECT getSetting('max_execution_time')").rows == [(120,)]


@pytest.mark.parametrize(
    "setting",
    [
        *("max_memory_usage = 0", "max_memory_usage = 9000000000", "readonly = 0", "readonly = 2", "max_result_rows = 0"),
        *("max_result_bytes = 0", "timeout_overflow_mode = 'break'", "result_overflow_mode = 'break'", "max_threads = 64"),
        *("max_execution_time_leaf = 1", "max_bytes_before_external_group_by = 1", "distributed_product_mode = 'allow'"),
        *("timeout_before_checking_execution_speed = 0", "workload = 'x'"),
    ],
)  # fmt: skip
def test_the_reader_cannot_change_another_limit(accounts, setting):
    with pytest.raises(QueryError, match="readonly mode|should not be changed|Cannot modify"):
        accounts["reader"].query(f"SELECT 1 SETTINGS {setting}")


def test_a_query_of_the_reader_ends_at_the_limit_that_it_set(accounts):
    with pytest.raises(QueryError, match="Timeout exceeded"):
        accounts["reader"].query(
            "SELECT sum(cityHash64(number)) FROM numbers(1000000000000) SETTINGS max_execution_time = 1"
        )


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
    text = read("roles", "accounts")
    granted = re.findall(r"GRANT SELECT ON \{database\}\.(\w+) TO otjobs_reader", text)
    assert sorted(granted) == sorted([*VIEWS, "otjobs_migrations"])
    names = {row[0] for row in store.query("SELECT name FROM system.tables WHERE database = currentDatabase()").rows}
    assert set(granted) <= names


def test_who_may_not_make_accounts_is_told_of_the_file(accounts):
    with pytest.raises(QueryError, match=r"cannot make the account otjobs_writer.*otjobs migrate --roles-xml FILE"):
        grant(accounts["reader"], {"writer": "x", "reader": "y"})


def test_no_password_no_account(monkeypatch, url):
    monkeypatch.delenv("OTJOBS_WRITER_PASSWORD", raising=False)
    done = CliRunner().invoke(cli, ["migrate", "--roles", "--url", url])
    assert done.exit_code == 1
    assert "OTJOBS_WRITER_PASSWORD holds no password" in done.output


def test_the_file_is_written(tmp_path):
    file = tmp_path / "otjobs.xml"
    done = CliRunner().invoke(cli, ["migrate", "--roles-xml", str(file), "--writer-password-env", "MINE"])
    assert done.exit_code == 0, done.output
    assert '<password from_env="MINE"/>' in file.read_text()


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    file = tmp_path / "nowhere" / "otjobs.xml"
    done = CliRunner().invoke(cli, ["migrate", "--roles-xml", str(file)])
    assert (done.exit_code, done.output) == (
        1,
        f"otjobs: cannot write the file {file} of --roles-xml: No such file or directory\n",
    )
