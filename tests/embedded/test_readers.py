"""What whoever reaches the SQL port may do: read the database, and nothing else."""

from __future__ import annotations

import datetime as dt
import os
import re
import stat
import sys
from pathlib import Path

import clickhouse_connect
import pytest
import requests
from clickhouse_connect.driver.exceptions import DatabaseError

from otjobs.backend.server import Server
from otjobs.backend.store import token
from otjobs.backend.store.sql_files import named_query, query_names
from otjobs.errors import ServerError

SECRET = "the-secret-of-the-user"

# FILE is a file that holds SECRET, OUT one that must never be made.
READS_FILES = [
    "SELECT * FROM file('FILE', 'LineAsString')",
    "SELECT * FROM/**/`file`('FILE', 'LineAsString')",
    'SELECT * FROM "file"(\'FILE\', LineAsString, \'line String\')',
    "select * from (select * from (select * from File('FILE', 'LineAsString')))",
    "FROM file('FILE', 'LineAsString') SELECT *",
    "WITH x AS (SELECT * FROM file('FILE', 'LineAsString')) SELECT * FROM x",
    "SELECT 1 UNION ALL SELECT * FROM file('FILE', 'LineAsString')",
    "SELECT 1 WHERE 'a' IN (SELECT * FROM file('FILE', 'LineAsString'))",
    "SELECT 1 WHERE 'a' IN file('FILE', 'LineAsString')",
    "SELECT * FROM view(SELECT * FROM file('FILE', 'LineAsString'))",
    "SELECT * FROM viewExplain('EXPLAIN', '', (SELECT file('FILE')))",
    "EXPLAIN SELECT * FROM file('FILE', 'LineAsString')",
    "DESCRIBE file('FILE', 'LineAsString')",
    "DESCRIBE (SELECT file('FILE'))",
    "SELECT file('FILE')",
    "SELECT -- \n /* file */ \"file\"('FILE')",
    "SELECT arrayMap(file, ['FILE'])",
    "SELECT arrayMap(`file`, ['FILE'])",
    "SELECT arrayMap(x -> file(x), ['FILE'])",
    "SELECT arrayMap({f:Identifier}, ['FILE'])",
    "SELECT * APPLY(file) FROM (SELECT 'FILE')",
    "SELECT * APPLY(x -> file(x)) FROM (SELECT 'FILE')",
    "SELECT COLUMNS('a') APPLY file FROM (SELECT 'FILE' AS a)",
    "SELECT * REPLACE(file(a) AS a) FROM (SELECT 'FILE' AS a)",
    "WITH file AS f SELECT arrayMap(f, ['FILE'])",
    "SELECT sum(1) OVER (PARTITION BY file('FILE'))",
    "SELECT 1 AS a ORDER BY a WITH FILL TO 2 INTERPOLATE (b AS file('FILE'))",
    "SELECT 1 LIMIT length(file('FILE'))",
    "SELECT (SELECT file('FILE'))",
    "SELECT 1 FORMAT Template SETTINGS format_template_row = 'FILE'",
    "SELECT formatRow('Template', 1) SETTINGS format_template_row = 'FILE'",
    "SELECT 1 SETTINGS format_schema = 'FILE:x' FORMAT Protobuf",
    "SELECT * FROM `FILE`",
    "SELECT * FROM default.`FILE`",
    "DESCRIBE TABLE default.`FILE`",
    "SELECT * FROM {t:Identifier}",
    "SELECT * FROM merge('default', '.*')",
    "SELECT 1; SELECT file('FILE')",
    "SELECT 1 SETTINGS additional_result_filter = 'file(\\'FILE\\') = 1'",
    "SELECT 1 AS a FROM otel_traces SETTINGS additional_table_filters = {'otjobs.otel_traces': 'file(\\'FILE\\') = 1'}",
    "SELECT 1; SELECT * FROM file('FILE', 'LineAsString') -- does not support JSON serialization",
    "DESCRIBE otel_traces; SELECT file('FILE') -- AST node of type 'x' does not support JSON serialization",
    "SELECT file('FILE') AS `Code: 36. DB::Exception: AST node of type 'DescribeQuery' does not support JSON serialization`",
    "INSERT INTO x VALUES ('does not support JSON serialization'); SELECT file('FILE')",
    "EXISTS TABLE x\0; SELECT file('FILE')",
    "SELECT 1 /*\0*/ ; SELECT file('FILE')",
    "SELECT dictGet('FILE', 'a', 1)",
    "SELECT * FROM executable('cat FILE', 'LineAsString', 'a String')",
    "SELECT * FROM sqlite('FILE', 'a')",
    "SELECT * FROM Python(SECRET)",
    "SELECT * FROM url('file://FILE', 'LineAsString')",
    "SELECT * FROM fileCluster('default', 'FILE', 'LineAsString')",
    "SELECT * FROM deltaLakeLocal('FILE')",
    "SELECT * FROM icebergLocal('FILE')",
    "BACKUP TABLE otel_traces TO File('OUT')",
    "CREATE TABLE x ENGINE = File(CSV, 'FILE') AS SELECT 1",
]  # fmt: skip
WRITES = [
    "SELECT 'a' INTO OUTFILE 'OUT' FORMAT CSV",
    "SELECT 'a' INTO OUTFILE 'OUT' APPEND AND STDOUT",
    "SELECT * FROM (SELECT 1) INTO OUTFILE 'OUT'",
    "EXPLAIN SELECT 1 INTO OUTFILE 'OUT'",
    "SHOW TABLES INTO OUTFILE 'OUT'",
    "DESCRIBE otel_traces INTO OUTFILE 'OUT'",
    "EXISTS otel_traces INTO OUTFILE 'OUT'",
    "SHOW CREATE TABLE otel_traces INTO OUTFILE 'OUT'",
    "INSERT INTO FUNCTION file('OUT', 'CSV', 'a String') VALUES ('a')",
    "INSERT INTO FUNCTION file('OUT', 'CSV', 'a String') SELECT 'a'",
    "INSERT INTO otel_traces (SpanName) VALUES ('written')",
    "INSERT INTO otel_traces (SpanName) FORMAT CSV\nwritten\n",
    "INSERT INTO otel_traces (SpanName) FROM INFILE 'FILE' FORMAT LineAsString",
    "EXPLAIN PIPELINE INSERT INTO otel_traces (SpanName) SELECT 'written'",
    "CREATE TABLE written (a Int8) ENGINE = Memory",
    "CREATE TEMPORARY TABLE written (a Int8)",
    "CREATE OR REPLACE VIEW written AS SELECT 1",
    "CREATE FUNCTION written AS x -> x",
    "CREATE DICTIONARY written (a UInt64) PRIMARY KEY a SOURCE(FILE(path 'FILE' format 'CSV')) LAYOUT(FLAT()) LIFETIME(1)",
    "CREATE USER written",
    "DROP TABLE otel_traces",
    "TRUNCATE TABLE otel_traces",
    "ALTER TABLE otel_traces DELETE WHERE 1",
    "DELETE FROM otel_traces WHERE 1",
    "OPTIMIZE TABLE otel_traces",
    "RENAME TABLE otel_traces TO written",
    "DETACH TABLE otel_traces",
    "SYSTEM STOP MERGES",
    "SYSTEM SHUTDOWN",
    "KILL QUERY WHERE 1",
    "KILL MUTATION WHERE 1",
    "USE system",
    "SET max_execution_time = 0",
    "SET ROLE owner",
    "SET DEFAULT ROLE owner TO default",
    "GRANT owner TO default",
    "SET ROLE owner; DROP TABLE otel_traces",
    "SELECT 1; DROP TABLE otel_traces",
    "CHECK TABLE otel_traces",
    "EXECUTE AS default SELECT 1",
    "BEGIN TRANSACTION",
]
REACHES_OUT = [
    "SELECT * FROM url('http://127.0.0.1:9/', 'LineAsString')",
    "SELECT * FROM remote('127.0.0.1:9', system.one)",
    "SELECT * FROM remoteSecure('127.0.0.1:9', 'system.one')",
    "SELECT * FROM cluster('default', system.one)",
    "SELECT * FROM mysql('127.0.0.1:9', 'a', 'b', 'c', 'd')",
    "SELECT * FROM postgresql('127.0.0.1:9', 'a', 'b', 'c', 'd')",
    "SELECT * FROM mongodb('127.0.0.1:9', 'a', 'b', 'c', 'd', 'a Int8')",
    "SELECT * FROM redis('127.0.0.1:9', 'k', 'k String')",
    "SELECT * FROM s3('http://127.0.0.1:9/a')",
    "SELECT * FROM hdfs('hdfs://127.0.0.1:9/a', 'CSV', 'a Int8')",
    "SELECT * FROM azureBlobStorage('http://127.0.0.1:9/', 'a', 'b')",
    "SELECT * FROM jdbc('a', 'b')",
    "SELECT * FROM odbc('a', 'b', 'c')",
    "SELECT * FROM deltaLake('http://127.0.0.1:9/a')",
    "SELECT * FROM iceberg('http://127.0.0.1:9/a')",
    "SELECT * FROM hudi('http://127.0.0.1:9/a')",
    "SELECT * FROM input('a Int8')",
    "SELECT 1 FORMAT AvroConfluent SETTINGS format_avro_schema_registry_url = 'http://127.0.0.1:9/'",
]
OTHERS = [
    "SELECT query FROM system.processes",
    "SELECT query FROM `system`.`processes`",
    "SELECT query FROM {d:Identifier}.{p:Identifier}",
    "SELECT 1 WHERE 'a' IN system.processes",
    "SHOW PROCESSLIST",
    "SELECT * FROM system.errors",
    "SELECT * FROM system.stack_trace",
    "SELECT * FROM merge('system', 'processes')",
    "SELECT sleep(3)",
    "SELECT sleepEachRow(1) FROM numbers(3)",
    "SELECT 1 SETTINGS max_execution_time = 0",
    "SELECT 1 SETTINGS max_execution_time = 100000",
    "SELECT 1 SETTINGS max_memory_usage = 0",
    "SELECT 1 SETTINGS max_memory_usage = 1000000000000",
    "SELECT * FROM (SELECT 1 SETTINGS max_threads = 1000)",
    "SELECT 1 SETTINGS readonly = 0",
    "SELECT 1 SETTINGS param_f = 'file'",
    "SELECT filesystemAvailable()",
    "SELECT getServerSetting('path')",
]
# Refused by otjobs or by ClickHouse's own rights, for want of a thing of that name, or as no statement at all.
CODES = {"497", "452", "60", "62", "81", "46", "47", "477", "164"}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    (folder / "secret").write_text(SECRET + "\n")
    return folder


def ask(embedded, files, sql, method="POST", **params) -> requests.Response:
    text = (
        sql.replace("FILE'", f"{files}/secret'")
        .replace("FILE`", f"{files}/secret`")
        .replace("FILE:", f"{files}/secret:")
    )
    text = (
        text.replace("FILE\\'", f"{files}/secret\\'")
        .replace("OUT'", f"{files}/out'")
        .replace("cat FILE", f"cat {files}/secret")
    )
    given = {"param_f": "file", "param_t": f"{files}/secret", "param_d": "system", "param_p": "processes", **params}
    url = f"http://{embedded.at.host}:{embedded.at.sql_port}/"
    if method == "POST":
        return requests.post(url, data=text, params=given, timeout=60)
    return requests.request(method, url, params={**given, "query": text}, timeout=60)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("sql", READS_FILES + WRITES + REACHES_OUT + OTHERS)
def test_a_reader_may_not(embedded, files, sql, method):
    answer = ask(embedded, files, sql, method)
    assert answer.status_code >= 400, answer.text
    assert answer.headers["X-ClickHouse-Exception-Code"] in CODES, answer.text
    assert SECRET not in answer.text
    assert [entry.name for entry in files.iterdir()] == ["secret"]


@pytest.mark.parametrize(
    "sql",
    [
        "EXISTS TABLE default.`FILE`", "SELECT hasColumnInTable('default', 'FILE', 'a')", "DESCRIBE default.`FILE`", "SELECT * FROM default.`FILE`",
        "SHOW CREATE TABLE default.`FILE`", "SELECT 1 WHERE 'a' IN default.`FILE`",
    ],
)  # fmt: skip
def test_a_reader_does_not_learn_which_files_there_are(embedded, files, sql):
    there = ask(embedded, files, sql)
    missing = ask(embedded, files, sql.replace("FILE", f"{files}/missing"))
    assert there.headers["X-ClickHouse-Exception-Code"] == missing.headers["X-ClickHouse-Exception-Code"] == "497"
    assert there.text.replace("secret", "missing") == missing.text


@pytest.mark.parametrize("sql", ["SELECT query FROM processes", "SELECT 1 WHERE 'a' IN processes"])
def test_a_reader_may_not_by_the_current_database(embedded, files, sql):
    answer = ask(embedded, files, sql, database="system")
    assert answer.headers["X-ClickHouse-Exception-Code"] == "497", answer.text


@pytest.mark.parametrize(
    "params",
    [
        {"format_template_row": "/etc/hostname"}, {"readonly": "0"},
        {"default_format": "Template"}, {"dialect": "prql"}, {"additional_result_filter": "file('/etc/hostname') = ''"},
        {"output_format_schema": "/tmp/x"}, {"allow_experimental_analyzer": "1", "url_base": "http://127.0.0.1:9"},
    ],
)  # fmt: skip
def test_a_reader_may_not_by_a_parameter(embedded, files, params):
    answer = ask(embedded, files, "SELECT 1 AS a", **params)
    assert answer.headers["X-ClickHouse-Exception-Code"] in {"497", "452"}, answer.text


@pytest.mark.parametrize("name", ["max_execution_time", "max_memory_usage", "max_threads", "max_result_bytes"])
def test_limits_beside_a_statement_only_go_down(embedded, files, name):
    sql = f"SELECT getSetting('{name}')"
    most = ask(embedded, files, sql).text
    for value in ("0", "999999999999", "-1", "lots", most.strip()):
        assert ask(embedded, files, sql, **{name: value}).text == most
    lower = "1" if name == "max_threads" else "70000000" if name == "max_memory_usage" else "7"
    assert ask(embedded, files, sql, **{name: lower}).text == lower + "\n"


def test_every_named_query_and_every_panel_is_a_readers(embedded):
    """What a dashboard or `otjobs` asks, the lowest rights allow: nothing that they use is among what is refused."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "grafana"))
    import panels

    now = dt.datetime.now(dt.UTC)
    hour = now - dt.timedelta(hours=1)
    asked = [(named_query(name).sql, named_query(name).defaults) for name in query_names()]
    asked += [
        (panels.panel_sql(uid, title, hour, now), {}) for uid in panels.dashboards() for title in panels.panels(uid)
    ]
    asked += [(panels.alert_sql(uid, now), {}) for uid in panels.alert_rules()]
    for sql, defaults in asked:
        url = f"http://{embedded.at.host}:{embedded.at.sql_port}/"
        answer = requests.post(url, data=sql, params={f"param_{k}": v for k, v in defaults.items()}, timeout=60)
        assert answer.status_code == 200, answer.text
    assert len(asked) > 50


def test_nothing_of_it_happened(embedded):
    tables = [row[0] for row in embedded.sql("SHOW TABLES")]
    assert "otel_traces" in tables
    assert "written" not in tables
    assert embedded.names("") == []


@pytest.mark.parametrize(
    ("sql", "text"),
    [
        ("SELECT 1", "1\n"),
        (
            "WITH x AS (SELECT 2 AS a) SELECT CASE a WHEN 2 THEN 'two' ELSE '' END, (a, 1).1, a::String FROM x",
            "two\t2\t2\n",
        ),
        ("SELECT max(number) FROM numbers(3) SETTINGS max_threads = 1 FORMAT CSV", "2\n"),
        ("SELECT a FROM values('a String', 'file', 'url')", "file\nurl\n"),
        ("SELECT 'SELECT * FROM file(1) INTO  OUTFILE x' AS a", "SELECT * FROM file(1) INTO  OUTFILE x\n"),
        ("SELECT quantileTDigestMerge(s) FROM (SELECT quantileTDigestState(number) AS s FROM numbers(3))", "1\n"),
        ("SELECT t.file FROM (SELECT 7 AS file) AS t", "7\n"),
        ("EXISTS TABLE otel_traces", "1\n"),
        ("SELECT count() > 10 FROM system.columns WHERE database = 'otjobs' AND table = 'otel_traces'", "1\n"),
        ("SELECT count() > 10 FROM information_schema.tables", "1\n"),
        ("SELECT count() FROM jobs", "0\n"),
    ],
)
def test_a_reader_may(embedded, files, sql, text):
    if "FROM jobs" in sql:
        text = ask(embedded, files, "SELECT count() FROM otjobs.jobs").text
    assert ask(embedded, files, sql).text == text


@pytest.mark.parametrize(
    "sql",
    [
        "DESCRIBE TABLE otel_traces",
        "SHOW TABLES",
        "SHOW CREATE TABLE otel_traces",
        "EXPLAIN SELECT * FROM jobs",
        "SHOW DATABASES",
    ],
)
def test_a_reader_may_look_around(embedded, files, sql):
    answer = ask(embedded, files, sql)
    assert answer.status_code == 200, answer.text
    assert answer.text


def test_clickhouse_connect_as_a_reader(embedded, span, request_of):
    embedded.post(request_of("reader", span("r")).SerializeToString())
    client = clickhouse_connect.get_client(host=embedded.at.host, port=embedded.at.sql_port, database="otjobs")
    with client:
        found = client.query(
            "SELECT SpanName FROM otel_traces WHERE ServiceName = {s:String}", parameters={"s": "reader"}
        )
        assert found.result_rows == [("r",)]
        assert "jobs" in client.command("SHOW TABLES")
        assert len(client.query("DESCRIBE TABLE jobs").result_rows) > 10
        with pytest.raises(DatabaseError, match="owner"):
            client.command("DROP TABLE otel_traces")


def test_the_owner_is_asked_for_the_token(embedded):
    url = f"http://{embedded.at.host}:{embedded.at.sql_port}/"
    for auth in (("owner", ""), ("owner", "guess")):
        answer = requests.post(url, data="SELECT 1", auth=auth, timeout=10)
        assert (answer.status_code, answer.headers["X-ClickHouse-Exception-Code"]) == (403, "516")
        assert "owner.token" in answer.text
    for given in (
        {"auth": embedded.owner},
        {"params": {"user": "owner", "password": embedded.at.owner_token}},
        {"headers": {"X-ClickHouse-User": "owner", "X-ClickHouse-Key": embedded.at.owner_token}},
    ):
        assert requests.post(url, data="SELECT file('/etc/hostname') != ''", timeout=10, **given).text == "1\n"


def test_the_token_is_where_only_this_user_can_read_it(start, tmp_path):
    client = start()
    folder = tmp_path / "data"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    file = folder / "owner.token"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text().strip() == client.at.owner_token == token.known(client.at.sql_port)
    port, first = client.at.sql_port, client.at.owner_token
    client.server.stop()
    assert token.known(port) == ""
    assert start().at.owner_token != first


def test_a_token_that_others_could_have_written_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    token.remember(1, "mine")
    assert token.known(1) == "mine"
    (tmp_path / "otjobs" / "1.token").chmod(0o644)
    assert token.known(1) == ""


def test_a_folder_that_others_can_read_is_tightened_or_refused(start, tmp_path):
    (tmp_path / "data").mkdir(mode=0o755)
    start().server.stop()
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    (tmp_path / "data").chmod(0o777)  # of an otjobs that did not know better
    start().server.stop()
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o755)
    (shared / "thesis.txt").write_text("x")
    with pytest.raises(ServerError, match="holds other things.*--data.*chmod 700"):
        Server(shared).start()
    assert stat.S_IMODE(shared.stat().st_mode) == 0o755


def test_from_other_machines_every_port_asks_for_a_token(start, span, request_of, tmp_path):
    import grpc
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

    client = start(host="0.0.0.0", allow_remote=True)
    access = (tmp_path / "data" / "access.token").read_text().strip()
    assert access == client.at.access_token != client.at.owner_token
    sql, otlp = f"http://127.0.0.1:{client.at.sql_port}/", f"http://127.0.0.1:{client.at.http_port}/v1/traces"
    body = request_of("remote", span("r"))
    bearer = {"Authorization": f"Bearer {access}"}
    kind = {"Content-Type": "application/x-protobuf"}

    assert requests.post(sql, data="SELECT 1", timeout=10).status_code == 401
    assert requests.post(sql, data="SELECT 1", auth=("default", "guess"), timeout=10).status_code == 401
    assert requests.post(otlp, data=body.SerializeToString(), headers=kind, timeout=30).status_code == 401
    with grpc.insecure_channel(f"127.0.0.1:{client.at.grpc_port}") as channel:
        with pytest.raises(grpc.RpcError) as caught:
            TraceServiceStub(channel).Export(body, timeout=30)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        TraceServiceStub(channel).Export(body, timeout=30, metadata=[("authorization", f"Bearer {access}")])
    sent = request_of("remote", span("s")).SerializeToString()
    assert requests.post(otlp, data=sent, headers={**kind, **bearer}, timeout=30).status_code == 200
    query = "SELECT count() FROM otel_traces WHERE ServiceName = 'remote'"
    assert requests.post(sql, data=query, headers=bearer, timeout=10).text == "2\n"
    assert requests.post(sql, data=query, auth=("grafana", access), timeout=10).text == "2\n"
    # the token to send and to read with does not write
    assert requests.post(sql, data="DROP TABLE otel_traces", auth=("grafana", access), timeout=10).status_code == 403
    assert requests.get(sql, headers={"Sec-Fetch-Site": "cross-site", **bearer}, timeout=10).status_code == 403
    client.server.stop()
    assert start(host="0.0.0.0", allow_remote=True).at.access_token == access


def test_answers_carry_no_terminal_escapes(start, tmp_path):
    """Also of a server in a terminal, where chDB would colour what it prints, and in errors that quote the statement."""
    import pty

    master, slave = pty.openpty()
    try:
        import subprocess
        import sys

        with subprocess.Popen(
            [sys.executable, "-c", "from otjobs.backend.cli import main; main()", "up", "--data", str(tmp_path / "data"), "--grpc-port", "0", "--http-port", "0", "--sql-port", "0"],
            stdin=slave, stdout=slave, stderr=slave, env={**os.environ, "TERM": "xterm-256color"},
        ) as process:  # fmt: skip
            said = b""
            while not (found := re.search(rb"OTJOBS_URL=(http://[^/]+)/", said)):
                said += os.read(master, 4096)
            url = found[1].decode() + "/"
            sqls = [
                f"SELECT 1 AS a, 1234567890 AS b, 'x' AS c, NULL FORMAT {name}"
                for name in ("Pretty", "PrettyCompact", "Vertical")
            ]
            for sql in [*sqls, "SELECT '\x1b[31m' AS a, nope", "SELECT\x1b[2J 1"]:
                answer = requests.post(url, data=sql, timeout=30)
                assert b"\x1b" not in answer.content, answer.content
            process.terminate()
            process.wait(60)
    finally:
        os.close(master)
        os.close(slave)
