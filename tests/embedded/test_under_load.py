"""Readers, writers, long queries and hostile requests at the same time; memory stays bounded."""

from __future__ import annotations

import gzip
import re
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
import requests
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

LONG_QUERY = "SELECT count() FROM numbers(10000000000000) WHERE sipHash64(number) = 1"
PROTOBUF = {"Content-Type": "application/x-protobuf"}


def _memory_mb(pid: int, name: str) -> float:
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith(name + ":"))


def _post_sql(client, sql: str, timeout: float = 60, **params) -> requests.Response:
    return requests.post(f"http://{client.at.host}:{client.at.sql_port}/", params=params, data=sql, timeout=timeout)


def test_readers_and_writers_at_the_same_time(embedded, span, request_of):
    stop = threading.Event()

    def write(worker: int) -> int:
        sent = 0
        while not stop.is_set():
            names = [f"{worker}-{sent + i}" for i in range(50)]
            assert embedded.post(request_of("together", *map(span, names)).SerializeToString()).status_code == 200
            sent += 50
        return sent

    def read() -> list[int]:
        seen = []
        while not stop.is_set():
            [[count, distinct]] = embedded.sql(
                "SELECT count(), uniqExact(SpanName) FROM otel_traces WHERE ServiceName = 'together'"
            )
            assert count == distinct
            seen.append(count)
        return seen

    with ThreadPoolExecutor(6) as pool:
        writers = [pool.submit(write, worker) for worker in range(3)]
        readers = [pool.submit(read) for _ in range(3)]
        time.sleep(4)
        stop.set()
        sent = sum(writer.result() for writer in writers)
        counts = [reader.result() for reader in readers]
    assert len(embedded.names("together")) == sent > 500
    for seen in counts:
        assert len(seen) > 5
        assert seen == sorted(seen)


def test_long_queries_hold_up_neither_writers_nor_other_readers(embedded, span, request_of):
    with ThreadPoolExecutor(8) as pool:
        long = [pool.submit(_post_sql, embedded, LONG_QUERY, query_id=f"long-{number}") for number in range(8)]
        time.sleep(1)
        try:
            for number in range(20):
                assert embedded.post(request_of("beside", span(str(number))).SerializeToString()).status_code == 200
            assert len(embedded.names("beside")) == 20
            assert not any(query.done() for query in long)
        finally:
            _post_sql(embedded, "KILL QUERY WHERE query LIKE 'SELECT sum(sleepEachRow%' ASYNC")


def test_a_stop_does_not_wait_for_a_long_query(start):
    client = start()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(_post_sql, client, LONG_QUERY)
        time.sleep(1)
        began = time.monotonic()
        assert client.server.stop() == 0
        assert time.monotonic() - began < 20
        try:
            assert answer.result().status_code == 500
        except requests.ConnectionError:
            pass  # the connection was closed instead


def test_what_was_acknowledged_over_grpc_survives_a_kill(start, span, request_of):
    client = start()
    acknowledged: list[str] = []
    stop = threading.Event()

    def send(worker: int) -> None:
        number = 0
        with grpc.insecure_channel(f"{client.at.host}:{client.at.grpc_port}") as channel:
            while not stop.is_set():
                names = [f"{worker}-{number}-{i}" for i in range(20)]
                number += 1
                try:
                    TraceServiceStub(channel).Export(request_of("grpc-end", *map(span, names)), timeout=10)
                except grpc.RpcError:
                    return
                acknowledged.extend(names)

    with ThreadPoolExecutor(4) as pool:
        for worker in range(4):
            pool.submit(send, worker)
        time.sleep(2)
        client.server._process.send_signal(signal.SIGKILL)
        client.server._process.wait(30)
        stop.set()
    client.server.kill()
    assert len(acknowledged) > 100
    stored = start().names("grpc-end")
    assert set(acknowledged) <= set(stored)
    assert len(stored) == len(set(stored))


def test_a_stopping_server_refuses_in_words_that_exporters_retry(start, span, request_of):
    """Senders that go on through a graceful stop see success, a retryable status or a closed port, and nothing else."""
    client = start()
    answers: set[object] = set()
    gone = threading.Event()

    def send() -> None:
        with requests.Session() as session:
            while not gone.is_set():
                body = request_of("stopping", span()).SerializeToString()
                try:
                    answers.add(session.post(url, data=body, headers=PROTOBUF, timeout=20).status_code)
                except requests.ConnectionError:
                    answers.add("closed")
                    return

    url = client.at.otlp_http + "/v1/traces"
    with ThreadPoolExecutor(4) as pool:
        senders = [pool.submit(send) for _ in range(4)]
        time.sleep(0.5)
        assert client.server.stop() == 0
        gone.set()
        for sender in senders:
            sender.result(30)
    assert 200 in answers
    assert answers <= {200, 503, "closed"}


def test_gzip_bombs_cost_no_memory(start, span, request_of):
    """Thirty bodies of 15 MiB of nothing each, sent at once: what is inside at one time is bounded, and others go on."""
    client = start()
    before = _memory_mb(client.server.pid, "VmRSS")
    bomb = gzip.compress(bytes(15 << 20))

    def send(_: int) -> int:
        return client.post(bomb, content_encoding="gzip").status_code

    with ThreadPoolExecutor(30) as pool:
        statuses = list(pool.map(send, range(30)))
    assert set(statuses) <= {400, 503}
    assert _memory_mb(client.server.pid, "VmHWM") < before + 400
    assert client.post(request_of("after", span("a")).SerializeToString()).status_code == 200
    assert client.names("after") == ["a"]


def test_a_grpc_bomb_is_refused(embedded, span, request_of):
    with grpc.insecure_channel(
        f"{embedded.at.host}:{embedded.at.grpc_port}", options=[("grpc.max_send_message_length", -1)]
    ) as channel:
        export = channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
        with pytest.raises(grpc.RpcError) as caught:
            export(bytes(70 << 20), timeout=60, compression=grpc.Compression.Gzip)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        answer = TraceServiceStub(channel).Export(
            request_of("zipped", span("z")), timeout=30, compression=grpc.Compression.Gzip
        )
        assert answer.partial_success.rejected_spans == 0
    assert embedded.names("zipped") == ["z"]


def test_many_connections_that_send_nothing_are_harmless(embedded, span, request_of):
    import socket

    idle = [socket.create_connection((embedded.at.host, embedded.at.http_port)) for _ in range(200)]
    try:
        for one in idle:
            one.sendall(b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\n")
        assert embedded.post(request_of("idle", span("i")).SerializeToString()).status_code == 200
    finally:
        for one in idle:
            one.close()
    assert embedded.names("idle") == ["i"]


def test_as_grafana_asks_over_http(embedded, span, request_of):
    """Credentials in headers, database and format as parameters, read only, numbers as the panels need them."""
    now = time.time_ns()
    spans = [span("g", start_time_unix_nano=now - n * 60 * 10**9, end_time_unix_nano=now) for n in range(3)]
    assert embedded.post(request_of("panel", *spans).SerializeToString()).status_code == 200
    answer = requests.get(
        f"http://{embedded.at.host}:{embedded.at.sql_port}/",
        params={
            "query": "SELECT toStartOfMinute(Timestamp) AS time, count() AS value FROM otel_traces WHERE ServiceName = 'panel'"
            " AND Timestamp >= fromUnixTimestamp64Milli({from:Int64}) GROUP BY time ORDER BY time FORMAT JSON",
            "param_from": str(now // 10**6 - 3_600_000),
            "database": "otjobs",
            "max_execution_time": "60",
            "user": "otjobs_reader",
        },
        headers={
            "X-ClickHouse-User": "otjobs_reader",
            "X-ClickHouse-Key": "secret",
            "Accept-Encoding": "gzip",
            "User-Agent": "Grafana/13.2",
        },
        timeout=30,
    )
    assert answer.status_code == 200
    found = answer.json()
    assert [column["name"] for column in found["meta"]] == ["time", "value"]
    assert [row["value"] for row in found["data"]] == [1, 1, 1]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:00", found["data"][0]["time"])
    assert found["rows"] == 3
