"""Starting, being in the way of others, being overrun and being killed."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import parts
import psutil
import pytest
import requests
from google.rpc import error_details_pb2, status_pb2
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

from otjobs.backend.server import Server
from otjobs.errors import ConfigurationError, FolderInUseError, PortInUseError


def test_a_taken_folder_is_named_with_its_owner(embedded):
    with pytest.raises(FolderInUseError) as caught:
        Server(embedded.at.data).start()
    assert embedded.at.data in str(caught.value)
    assert f"process {embedded.server.pid}" in str(caught.value)
    assert "--data" in str(caught.value)


@pytest.mark.parametrize("name", ["grpc_port", "http_port", "sql_port"])
def test_a_taken_port_is_named_with_its_option(tmp_path, name):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortInUseError, match=f"port {port} on 127.0.0.1 is in use.*--{name.replace('_', '-')}"):
            Server(tmp_path / "data", **{name: port}).start()


@pytest.mark.parametrize("name", ["grpc_port", "http_port", "sql_port"])
def test_two_servers_never_share_a_port(embedded, tmp_path, name):
    with pytest.raises(PortInUseError):
        Server(tmp_path / "data", **{name: getattr(embedded.at, name)}).start()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com", ""])
def test_other_machines_are_kept_out_unless_asked_for(tmp_path, host):
    with pytest.raises(ConfigurationError, match="allow_remote=True"):
        Server(tmp_path / "data", host=host).start()
    assert not (tmp_path / "data").exists()


def test_allow_remote_listens_where_told(start):
    client = start(host="0.0.0.0", allow_remote=True)
    assert requests.get(
        f"http://127.0.0.1:{client.at.sql_port}/ping", headers={"Host": "box.example.com"}, timeout=10
    ).ok


def _send_until_gone(
    client, span, request_of, service: str, acknowledged: list[str], stop: threading.Event, worker: int
):
    number = 0
    with requests.Session() as session:
        while not stop.is_set():
            names = [f"{worker}-{number}-{i}" for i in range(20)]
            number += 1
            body = request_of(service, *map(span, names)).SerializeToString()
            try:
                answer = session.post(
                    client.at.otlp_http + "/v1/traces",
                    data=body,
                    headers={"Content-Type": "application/x-protobuf"},
                    timeout=30,
                )
            except (requests.RequestException, Exception):
                return
            if answer.status_code == 200:
                acknowledged.extend(names)


@pytest.mark.parametrize("how", ["SIGKILL", "SIGTERM", "SIGINT"])
def test_what_was_acknowledged_survives_the_end(start, span, request_of, how):
    client = start()
    acknowledged: list[str] = []
    stop = threading.Event()
    with ThreadPoolExecutor(4) as pool:
        for worker in range(4):
            pool.submit(_send_until_gone, client, span, request_of, "end", acknowledged, stop, worker)
        time.sleep(2)
        process = client.server._process
        os.kill(process.pid, getattr(signal, how))
        status = process.wait(30)
        stop.set()
    assert status == (-9 if how == "SIGKILL" else 0), client.server.log
    client.server.kill()
    assert len(acknowledged) > 100
    again = start()
    stored = again.names("end")
    assert set(acknowledged) <= set(stored)
    assert len(stored) == len(set(stored))


def test_a_full_queue_asks_senders_to_come_back(start, span, request_of):
    """One request that is still being received holds the room; others are told to retry, and can once it is gone."""
    client = start(queue_bytes=100_000)
    body = request_of("full", span("held", attributes={"a": "x" * 90_000})).SerializeToString()
    other = request_of("full", span("other", attributes={"a": "x" * 50_000}))
    slow = http.client.HTTPConnection(client.at.host, client.at.http_port, timeout=30)
    slow.putrequest("POST", "/v1/traces")
    slow.putheader("Content-Type", "application/x-protobuf")
    slow.putheader("Content-Length", str(len(body)))
    slow.endheaders(body[:-1])
    deadline = time.monotonic() + 10
    while (answer := client.post(other.SerializeToString())).status_code == 200 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert "cannot keep up" in answer.text

    with grpc.insecure_channel(f"{client.at.host}:{client.at.grpc_port}") as channel:
        with pytest.raises(grpc.RpcError) as caught:
            TraceServiceStub(channel).Export(other, timeout=30)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        details = dict(caught.value.trailing_metadata())["grpc-status-details-bin"]
        info = error_details_pb2.RetryInfo()
        assert status_pb2.Status.FromString(details).details[0].Unpack(info)
        assert info.retry_delay.seconds == 1

        slow.send(body[-1:])
        assert slow.getresponse().status == 200
        slow.close()
        assert TraceServiceStub(channel).Export(other, timeout=30).partial_success.rejected_spans == 0
    assert set(client.names("full")) == {"held", "other"}


def test_one_request_larger_than_the_queue_is_taken_when_nothing_else_waits(start, span, request_of):
    client = start(queue_bytes=1_000)
    assert (
        client.post(request_of("large", span("l", attributes={"a": "x" * 50_000})).SerializeToString()).status_code
        == 200
    )
    assert client.names("large") == ["l"]


def test_a_sender_that_goes_away_frees_its_room(start, span, request_of):
    client = start(queue_bytes=100_000)
    for _ in range(3):
        gone = socket.create_connection((client.at.host, client.at.http_port))
        gone.sendall(
            b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\nContent-Length: 99999\r\n\r\n"
            + b"x" * 90_000
        )
        time.sleep(0.2)
        gone.close()
    time.sleep(0.5)
    assert (
        client.post(request_of("room", span("r", attributes={"a": "x" * 90_000})).SerializeToString()).status_code
        == 200
    )


def test_it_ends_with_the_process_that_started_it(tmp_path):
    # Given a server that a script started, which is killed and so cannot stop it
    script = (
        "import sys, time; from otjobs.backend.server import Server; server = Server(sys.argv[1]); server.start(); "
        "print(server.pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "data")], stdout=subprocess.PIPE, text=True
    ) as starter:
        pid = int(starter.stdout.readline())
        starter.kill()
    # Then it ends by itself
    parts.wait_until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie", seconds=90)
