"""clickhouse-connect's usual surface, the same on the embedded SQL port as on a real ClickHouse server."""

from __future__ import annotations

import datetime as dt
import io
import itertools

import clickhouse_connect
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

_numbers = itertools.count(1)
NOON = dt.datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=dt.UTC)
COLUMNS = "(a UInt32, s String, t DateTime64(9, 'UTC'), m Map(String, String), l Array(Float64), n Nullable(Int64), c LowCardinality(String))"


@pytest.fixture(params=["embedded", "server"])
def server(request):
    if request.param == "embedded":
        at = request.getfixturevalue("embedded").at
        return {"host": at.host, "port": at.sql_port, "username": "owner", "password": at.owner_token}
    return {"host": "127.0.0.1", "port": request.getfixturevalue("clickhouse").http_port}


@pytest.fixture
def connect(server):
    made = []

    def one(**options):
        made.append(
            clickhouse_connect.get_client(**{**server, "tz_mode": "aware", "autogenerate_session_id": False, **options})
        )
        return made[-1]

    yield one
    for client in made:
        client.close()


@pytest.fixture
def client(connect):
    return connect()


@pytest.fixture
def table(client):
    name = f"cc_{next(_numbers)}"
    client.command(f"CREATE TABLE {name} {COLUMNS} ENGINE = MergeTree ORDER BY a")
    yield name
    client.command(f"DROP TABLE {name}")


def _rows(count):
    return [
        [
            n,
            f"ä\n\n{n}",
            NOON + dt.timedelta(seconds=n),
            {"k": str(n), "": "x"},
            [n / 4, 0.5],
            None if n % 3 else -n,
            f"c{n % 5}",
        ]
        for n in range(count)
    ]


@pytest.mark.parametrize("compression", [True, False, "lz4", "zstd", "gzip"])
def test_rows_come_back_as_they_went_in(connect, table, compression):
    client = connect(compress=compression)
    rows = _rows(3_000)
    assert client.insert(table, rows).written_rows == 3_000
    found = client.query(f"SELECT * FROM {table} ORDER BY a")
    assert found.column_names == ("a", "s", "t", "m", "l", "n", "c")
    assert [list(row) for row in found.result_rows] == rows
    assert found.query_id


def test_named_columns_and_defaults(client, table):
    client.insert(table, [["x", 1], ["y", 2]], column_names=["s", "a"])
    assert client.query(f"SELECT a, s, n, l FROM {table} ORDER BY a").result_rows == [
        (1, "x", None, []),
        (2, "y", None, []),
    ]


def test_parameters_on_the_server_side(client):
    values = {"n": 7, "s": "it's a \\ and\n\ttab ä", "l": ["x", "it's"], "t": NOON, "i": "number"}
    sql = (
        "SELECT {n:UInt8} + 1, {s:String}, {l:Array(String)}, {t:DateTime64(6, 'UTC')}, {i:Identifier}"
        " FROM system.numbers LIMIT 1"
    )
    assert client.query(sql, parameters=values).result_rows == [(8, values["s"], values["l"], NOON, 0)]


def test_parameters_on_the_client_side(client):
    assert client.query("SELECT %(s)s, %(n)s", parameters={"s": "it's", "n": 3}).result_rows == [("it's", 3)]


def test_commands_return_values(client):
    assert client.command("SELECT 6 * 7") == 42
    assert client.command("SELECT 'a', 'b'") == ["a", "b"]
    assert client.command("SELECT getSetting('max_threads')", settings={"max_threads": 1}) == 1


def test_settings_of_a_client_and_of_a_query(connect):
    client = connect(settings={"max_block_size": 777})
    assert client.command("SELECT getSetting('max_block_size')") == 777
    again = client.query("SELECT getSetting('max_block_size')", settings={"max_block_size": 778}).result_rows
    assert again == [(778,)]
    assert client.command("SELECT getSetting('max_block_size')") == 777


def test_sessions_are_accepted(connect):
    client = connect(autogenerate_session_id=True)
    assert client.command("SELECT 1") == 1
    assert connect(session_id="mine").query("SELECT 2").result_rows == [(2,)]


def test_streams(client, table):
    client.insert(table, _rows(5_000))
    sql = f"SELECT a, s FROM {table} ORDER BY a"
    with client.query_rows_stream(sql) as stream:
        assert [row[0] for row in stream] == list(range(5_000))
    with client.query_row_block_stream(sql, settings={"max_block_size": 1_000}) as stream:
        assert sum(len(block) for block in stream) == 5_000
    with client.query_column_block_stream(sql) as stream:
        assert sum(len(block[0]) for block in stream) == 5_000


def test_raw_queries_and_inserts(client, table):
    client.raw_insert(table, ["a", "s"], b"1,one\n2,two\n", fmt="CSV")
    client.raw_insert(table, ["a", "s"], io.BytesIO(b'{"a": 3, "s": "\\n\\nthree"}\n'), fmt="JSONEachRow")
    assert client.raw_query(f"SELECT a, s FROM {table} ORDER BY a", fmt="TSV") == b"1\tone\n2\ttwo\n3\t\\n\\nthree\n"
    assert client.raw_query("SELECT 1 AS x FORMAT JSONEachRow") == b'{"x":1}\n'
    with client.raw_stream(f"SELECT a FROM {table} ORDER BY a", fmt="CSV") as stream:
        assert stream.read() == b"1\n2\n3\n"


def test_frames_and_arrow(client, table):
    client.insert(table, _rows(10))
    frame = client.query_df(f"SELECT a, c FROM {table} ORDER BY a")
    assert list(frame["a"]) == list(range(10))
    client.insert_df(table, frame.assign(a=frame["a"] + 100))
    assert client.query_arrow(f"SELECT max(a) AS m FROM {table}").to_pydict() == {"m": [109]}
    assert client.query_np(f"SELECT a FROM {table} ORDER BY a LIMIT 3").tolist() == [[0], [1], [2]]


@pytest.mark.parametrize(
    ("sql", "code"),
    [("SELECT nope", 47), ("SELEC", 62), ("SELECT 1 FROM nowhere", 60), ("SELECT throwIf(1)", 395), ("SELECT toInt8('x')", 6),
     ("SELECT {p:UInt8}", 456), ("SELECT * FROM nowhere.x", 81), ("SELECT nofunction(1)", 46)],
)  # fmt: skip
def test_errors_have_their_code(client, sql, code):
    with pytest.raises(DatabaseError, match=f"(?i)code[: ]+{code}\\b"):
        client.query(sql)
    assert client.command("SELECT 1") == 1


def test_an_insert_that_does_not_fit_says_so(client, table):
    with pytest.raises(DatabaseError, match="(?s)nowhere"):
        client.raw_insert(table, ["nowhere"], b"1\n", fmt="CSV")
    with pytest.raises(DatabaseError):
        client.raw_insert(table, ["a"], b"no number\n", fmt="CSV")
    assert client.command(f"SELECT count() FROM {table}") == 0


def test_the_database_of_a_client(connect):
    assert connect(database="system").command("SELECT currentDatabase()") == "system"
    with pytest.raises(DatabaseError, match="81|UNKNOWN_DATABASE"):
        connect(database="nowhere").query("SELECT 1")


def test_what_is_there(client, table):
    assert client.ping()
    assert client.server_version.split(".")[0].isdigit()
    assert client.command(f"EXISTS TABLE {table}") == 1
    assert table in client.command("SHOW TABLES")
    assert [row[0] for row in client.query(f"DESCRIBE TABLE {table}").result_rows] == [
        "a",
        "s",
        "t",
        "m",
        "l",
        "n",
        "c",
    ]
    assert client.query("SELECT 1 WHERE 0").result_rows == []
    assert client.query("SELECT 1 AS a, 2 AS b").first_item == {"a": 1, "b": 2}
