"""What whoever reaches the SQL port may do: read the database, and nothing else."""

from __future__ import annotations

import datetime as dt
import os
import re
import sys
from pathlib import Path

import clickhouse_connect
import pytest
import requests
from clickhouse_connect.driver.exceptions import DatabaseError
from refused_statements import OTHERS, REACHES_OUT, READS_FILES, SECRET, WRITES

from otjobs.backend.store.sql_files import named_query, query_names

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
