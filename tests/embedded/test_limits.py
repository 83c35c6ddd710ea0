"""Queries have limits, end with their client and with the server, and leave room for what stores spans."""

from __future__ import annotations

import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import parts
import pytest
import requests

ENDLESS = "SELECT count() FROM numbers(1000000000000000) WHERE sipHash64(number) = 1"
# One call of one function, which ClickHouse does not look into: KILL and the time limit wait for its end.
DEAF = "SELECT arrayFold((a, x) -> cityHash64(a, x), range(toUInt64(20000000) + materialize(0)), toUInt64(0))"


def ask(client, sql: str, timeout: float = 60, **given) -> requests.Response:
    return requests.post(f"http://{client.at.host}:{client.at.sql_port}/", data=sql, timeout=timeout, **given)


def leave(client, sql: str, method: str = "GET") -> socket.socket:
    """Send a query and return the open connection."""
    raw = socket.create_connection((client.at.host, client.at.sql_port))
    head = f"GET /?query={quote(sql)} HTTP/1.1\r\nHost: localhost\r\n\r\n"
    if method == "POST":
        head = f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(sql)}\r\n\r\n{sql}"
    raw.sendall(head.encode())
    return raw


def running(client) -> int:
    sql = "SELECT count() FROM system.processes WHERE query LIKE '%sipHash64(number) = 1'"
    return int(ask(client, sql + " AND query NOT LIKE '%system.processes%'", auth=client.owner).text)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_readers_who_left_do_not_block_the_port(embedded, method):
    gone = [leave(embedded, ENDLESS, method) for _ in range(20)]
    parts.wait_until(lambda: running(embedded) == 16, seconds=120)
    for one in gone:
        one.close()
    assert ask(embedded, "SELECT 1", timeout=120).text == "1\n"
    parts.wait_until(lambda: running(embedded) == 0, seconds=120, what="the queries to end")


def test_a_query_of_the_owner_ends_with_its_client_too(embedded):
    client = embedded
    raw = socket.create_connection((client.at.host, client.at.sql_port))
    raw.sendall(
        f"GET /?user=owner&password={client.at.owner_token}&query={quote(ENDLESS)} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    )
    parts.wait_until(lambda: running(client) == 1, seconds=30)
    raw.close()
    parts.wait_until(lambda: running(client) == 0, seconds=30, what="the query to end")


def test_a_reader_has_limits(embedded):
    def setting(name: str) -> int:
        return int(ask(embedded, f"SELECT getSetting('{name}')").text)

    assert setting("max_execution_time") == 60
    assert 256 << 20 <= setting("max_memory_usage") <= 2 << 30
    assert setting("max_result_bytes") == 256 << 20
    assert setting("max_threads") >= 1
    assert setting("readonly") == 2
    for sql, code in (
        ("SELECT length(groupArray(number)) FROM numbers(10000000000)", "241"),
        ("SELECT repeat(toString(number), 20000) FROM numbers(10000) SETTINGS max_block_size = 100", "396"),
        ("SELECT arrayJoin(range(number * 1000000)) FROM numbers(1000) FORMAT Null", "69"),
        (ENDLESS + " SETTINGS max_execution_time = 1", "159"),
    ):
        answer = ask(embedded, sql)
        assert answer.headers["X-ClickHouse-Exception-Code"] == code, answer.text[:300]
    assert ask(embedded, "SELECT 1").text == "1\n"


def test_readers_do_not_keep_spans_waiting(embedded, span, request_of):
    """Sixteen endless queries on all threads: storing takes about as long as without them."""
    client = embedded

    def median() -> float:
        took = []
        for number in range(9):
            began = time.monotonic()
            body = request_of("busy", *(span(str(number)) for _ in range(100))).SerializeToString()
            assert client.post(body).status_code == 200
            took.append(time.monotonic() - began)
        return sorted(took)[4]

    alone = median()
    busy = [leave(client, ENDLESS) for _ in range(16)]
    try:
        parts.wait_until(lambda: running(client) == 16, seconds=120)
        assert median() < 10 * max(alone, 0.2)
    finally:
        for one in busy:
            one.close()
        parts.wait_until(lambda: running(client) == 0, seconds=120)


@pytest.mark.parametrize("sql", [ENDLESS, DEAF], ids=["one that heeds KILL", "one that does not"])
def test_sigterm_ends_a_runaway_query_within_ten_seconds(start, span, request_of, sql):
    client = start()
    assert client.post(request_of("kept", span("k")).SerializeToString()).status_code == 200
    with ThreadPoolExecutor(2) as pool:
        held = [leave(client, sql) for _ in range(2)]
        # the deaf one holds its array then, and is inside of its function
        least = 100_000_000 if sql == DEAF else 0
        busy = f"SELECT count() FROM system.processes WHERE query = {{q:String}} AND memory_usage >= {least}"
        given = {"auth": client.owner, "params": {"param_q": sql}}
        parts.wait_until(lambda: int(ask(client, busy, **given).text) == 2, seconds=180)
        process = client.server._process
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert pool.submit(process.wait, 30).result() == 0
        assert time.monotonic() - began < 10
        for one in held:
            one.close()
    client.server.kill()
    assert start().names("kept") == ["k"]
