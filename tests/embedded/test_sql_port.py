from __future__ import annotations

import datetime as dt
import gzip

import clickhouse_connect
import pytest
import requests


@pytest.fixture
def base(embedded) -> str:
    return f"http://{embedded.at.host}:{embedded.at.sql_port}"


@pytest.fixture
def client(embedded):
    user, password = embedded.owner
    made = clickhouse_connect.get_client(
        host=embedded.at.host, port=embedded.at.sql_port, username=user, password=password, tz_mode="aware"
    )
    yield made
    made.close()


def test_ping(base):
    for path in ("/ping", "/"):
        answer = requests.get(base + path, timeout=10)
        assert (answer.status_code, answer.text) == (200, "Ok.\n")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_statement_in_the_query_parameter(base, method):
    given = {
        "query": "SELECT {n:UInt8} + 1 AS a, {s:String} AS s",
        "param_n": "4",
        "param_s": "it's",
        "default_format": "CSVWithNames",
    }
    answer = requests.request(method, base + "/", params=given, timeout=10)
    assert answer.text == '"a","s"\n5,"it\'s"\n'
    assert answer.headers["X-ClickHouse-Format"] == "CSVWithNames"


def test_statement_and_data_in_one_or_two_places_and_compressed(embedded, base):
    def run(sql: str, data: bytes = b"", **headers: str) -> requests.Response:
        named = {k.replace("_", "-"): v for k, v in headers.items()}
        answer = requests.post(
            base + "/", params={"query": sql}, data=data, headers=named, auth=embedded.owner, timeout=10
        )
        assert answer.status_code == 200, answer.text
        return answer

    run("CREATE TABLE places (a UInt32, s String) ENGINE = MergeTree ORDER BY a")
    run("INSERT INTO places FORMAT TSV", b"1\tx\n2\ty\n")
    run("", b"INSERT INTO places FORMAT CSV\n3,z\n")
    run("INSERT INTO places VALUES (4, 'v')")
    run("INSERT INTO places SELECT 5, 'FORMAT x'")
    run("INSERT INTO places FORMAT RowBinary", gzip.compress(b"\x0a\x0a\x00\x00\x02\n\n"), content_encoding="gzip")
    assert run("SELECT * FROM places ORDER BY a").text == "1\tx\n2\ty\n3\tz\n4\tv\n5\tFORMAT x\n2570\t\\n\\n\n"


def test_errors_carry_their_code(base):
    for sql, code, status in (
        ("SELECT nope", "47", 400),
        ("SELEC", "62", 400),
        ("SELECT 1 FROM nowhere", "60", 404),
        ("SELECT throwIf(1)", "395", 500),
    ):
        answer = requests.post(base + "/", data=sql, timeout=10)
        assert (answer.headers["X-ClickHouse-Exception-Code"], answer.status_code) == (code, status), answer.text
        assert answer.text.startswith(f"Code: {code}. DB::Exception: ")


@pytest.mark.parametrize("query_id", ["a\r\nX-Made-Up: 1", "\u2603", "\x1b[2J", "x" * 100_000])
def test_an_id_from_outside_does_not_break_the_answer(base, query_id):
    answer = requests.post(base + "/", params={"query_id": query_id}, data="SELECT 1", timeout=30)
    assert answer.text == "1\n"
    assert answer.headers["X-ClickHouse-Query-Id"].isprintable()
    assert len(answer.headers["X-ClickHouse-Query-Id"]) <= 200
    assert "X-Made-Up" not in answer.headers


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT " + "abs(" * 900 + "1" + ")" * 900, "SELECT " + "(" * 5_000 + "1" + ")" * 5_000, "SELECT " + "-" * 100_000 + "1",
        "SELECT " + "[" * 2_000 + "]" * 2_000, "SELECT " + "(SELECT " * 400 + "1" + ")" * 400, "SELECT 1" + " + 1" * 20_000,
        "SELECT '" + "x" * 300_000 + "'", "SELECT \x00", "\x00", "EXPLAIN " * 500 + "SELECT 1", "WITH " + "x AS (SELECT 1), " * 3_000 + "y AS (SELECT 1) SELECT 1",
    ],
)  # fmt: skip
def test_odd_statements_get_an_answer_and_harm_nobody(embedded, base, sql):
    pid = embedded.server.pid
    answer = requests.post(base + "/", data=sql.encode(), timeout=60)
    assert answer.status_code in range(400, 501) or answer.text.strip() in {"1", "20001", "[]"}, answer.text[:200]
    assert requests.post(base + "/", data="SELECT 1", timeout=60).text == "1\n"
    assert embedded.server._process.poll() is None
    assert pid == embedded.server.pid


def test_get_is_read_only_for_the_owner_too(embedded, base):
    sql = "CREATE TABLE got (a Int8) ENGINE = Memory"
    answer = requests.get(base + "/", params={"query": sql}, auth=embedded.owner, timeout=10)
    assert answer.headers["X-ClickHouse-Exception-Code"] == "164"


def test_settings_and_database_hold_for_one_statement(base):
    def text(sql: str, **params: str) -> str:
        return requests.post(base + "/", params=params, data=sql, timeout=10).text

    assert (
        text("SELECT getSetting('max_threads'), currentDatabase()", max_threads="1", database="system") == "1\tsystem\n"
    )
    assert text("SELECT currentDatabase()") == "otjobs\n"
    assert "Code: 115" in text("SELECT 1", no_such_setting="1")
    assert "Code: 115" in text("SELECT 1", **{"a = 1; DROP": "1"})


def test_block_compression_is_refused_in_words(base):
    answer = requests.post(base + "/", params={"decompress": "1"}, data=b"x", timeout=10)
    assert answer.status_code == 415
    assert "block compression is not supported" in answer.text


def test_clickhouse_connect_queries_commands_and_inserts(client):
    client.command(
        "CREATE TABLE cc (a UInt32, s String, t DateTime64(9, 'UTC'), m Map(String, String)) ENGINE = MergeTree ORDER BY a"
    )
    noon = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
    rows = [[n, "\n\n" * 5, noon, {"k": str(n)}] for n in range(20_000)]
    assert client.insert("cc", rows, column_names=["a", "s", "t", "m"]).written_rows == 20_000
    found = client.query(
        "SELECT a, s, t, m FROM cc WHERE a IN {a:Array(UInt32)} ORDER BY a", parameters={"a": [1, 2570]}
    )
    assert [list(row) for row in found.result_rows] == [rows[1], rows[2570]]
    assert client.command("SELECT count() FROM cc") == 20_000
    assert client.query_df("SELECT max(a) AS m FROM cc")["m"][0] == 19_999
    with pytest.raises(
        clickhouse_connect.driver.exceptions.DatabaseError, match="Unknown expression identifier `nope`"
    ):
        client.query("SELECT nope FROM cc")
