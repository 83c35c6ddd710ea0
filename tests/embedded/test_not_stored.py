"""What cannot be stored is refused in words that senders retry, and what was acknowledged is there."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time

import grpc
import parts
import pytest
import requests
from google.rpc import error_details_pb2, status_pb2
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

PROTOBUF = {"Content-Type": "application/x-protobuf"}


def job(span, number: int, name: str = "job", size: int = 0):
    """A job that ran: a span that every view takes something from."""
    now = time.time_ns()
    attributes = {
        "messaging.system": "celery", "messaging.operation.type": "process", "messaging.destination.name": "q",
        "messaging.message.id": f"id-{number}", "otjobs.job.type": "t", "otjobs.job.attempt": 1, "otjobs.job.outcome": "success",
        "otjobs.job.enqueued_at": now, "otjobs.job.dispatched": 0, "text": os.urandom(size).hex(),
    }  # fmt: skip
    return span(name, kind=5, attributes=attributes)


def send(client, request) -> requests.Response:
    return client.post(request.SerializeToString())


def figures(client, service: str) -> tuple[int, int]:
    """How many spans and how many jobs of a service are there."""
    spans = client.sql("SELECT uniqExact(SpanId) FROM otel_traces WHERE ServiceName = {s:String}", s=service)
    jobs = client.sql("SELECT count() FROM jobs WHERE service = {s:String}", s=service)
    return spans[0][0], jobs[0][0]


def refused(answer: requests.Response, why: str) -> None:
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1"), answer.text
    assert why in answer.text


@contextlib.contextmanager
def small_disk(folder, megabytes: int):
    """Mount a file system of its own of that size."""
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0700", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if done.returncode:
        if "all" in os.environ.get("OTJOBS_TEST_REQUIRE", ""):
            pytest.fail(f"cannot mount a small file system here: {done.stderr.decode().strip()}", pytrace=False)
        pytest.skip("a small file system: cannot mount one here (not root?)")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.timeout(600)
def test_a_full_disk_loses_nothing_acknowledged(start, span, request_of, tmp_path):
    with small_disk(tmp_path / "disk", 100) as disk:
        client = start(disk / "data")
        acknowledged, number = 0, 0
        answers: list[int] = []
        pending = []
        while answers.count(503) < 20:
            assert len(answers) < 3_000, "the disk never filled"
            request = request_of("disk", *(job(span, number + n, size=2_000) for n in range(50)))
            number += 50
            answer = send(client, request)
            answers.append(answer.status_code)
            if answer.status_code == 200:
                acknowledged += 50
            else:
                refused(answer, "")
                pending.append(request)
        assert set(answers) == {200, 503}
        assert "could not be stored" in answer.text
        with grpc.insecure_channel(f"{client.at.host}:{client.at.grpc_port}") as channel:
            with pytest.raises(grpc.RpcError) as caught:
                TraceServiceStub(channel).Export(pending[0], timeout=60)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        details = dict(caught.value.trailing_metadata())["grpc-status-details-bin"]
        info = error_details_pb2.RetryInfo()
        assert status_pb2.Status.FromString(details).details[0].Unpack(info)
        assert info.retry_delay.seconds == 1

        # When there is room again, the server goes on by itself and takes what was refused
        subprocess.run(["mount", "-o", "remount,size=400m", str(disk)], check=True)
        parts.wait_until(
            lambda: send(client, pending[0]).status_code == 200, seconds=60, what="the server to store again"
        )
        for request in pending[1:]:
            parts.wait_until(
                lambda sent=request: send(client, sent).status_code == 200, seconds=30, what="a request to be taken"
            )
        assert figures(client, "disk") == (number, number)
        assert acknowledged > 0
        client.server.stop()
        again = start(disk / "data")
        assert figures(again, "disk") == (number, number)
        again.server.stop()


TIGHT = """
import sys, json, pathlib
from otjobs.backend.server import engine
from otjobs.backend.server.__main__ import main

plain = engine.Engine.insert
def insert(self, *arguments):
    limit = 200_000 if pathlib.Path(sys.argv[2]).exists() else 0
    self._writer.query(f"SET max_memory_usage = {limit}")
    return plain(self, *arguments)

engine.Engine.insert = insert
main()
"""


def test_a_memory_limit_loses_nothing_acknowledged(start, span, request_of, tmp_path, monkeypatch):
    tight = tmp_path / "tight"
    (tmp_path / "tight.py").write_text(TIGHT)
    plain = subprocess.Popen

    def patched(command, **options):
        if command[1:3] == ["-m", "otjobs.backend.server"]:
            command = [command[0], str(tmp_path / "tight.py"), command[3], str(tight)]
        return plain(command, **options)

    monkeypatch.setattr(subprocess, "Popen", patched)
    client = start()
    before = request_of("memory", *(job(span, n) for n in range(100)))
    assert send(client, before).status_code == 200
    tight.touch()
    after = request_of("memory", *(job(span, 100 + n, size=500) for n in range(100)))
    refused(send(client, after), "emory limit")
    tight.unlink()
    parts.wait_until(lambda: send(client, after).status_code == 200, seconds=60)
    assert figures(client, "memory") == (200, 200)


def test_too_many_parts_lose_nothing_acknowledged(start, span, request_of):
    client = start()
    assert send(client, request_of("parts", job(span, 0))).status_code == 200
    client.command(
        "ALTER TABLE otjobs.attempt_states MODIFY SETTING parts_to_throw_insert = 1, parts_to_delay_insert = 1"
    )
    later = request_of("parts", job(span, 1))
    refused(send(client, later), "oo many parts")
    client.command("ALTER TABLE otjobs.attempt_states RESET SETTING parts_to_throw_insert, parts_to_delay_insert")
    # Without anybody sending again: the half that was stored gets its other half
    parts.wait_until(lambda: figures(client, "parts") == (2, 2), seconds=60, what="the figures to agree")
    assert send(client, later).status_code == 200
    assert figures(client, "parts") == (2, 2)


THROWS = "CREATE MATERIALIZED VIEW otjobs.throws TO otjobs.thrown AS SELECT throwIf(SpanName LIKE '{like}', 'this view throws') AS a FROM otjobs.otel_traces"


@pytest.fixture
def throwing(start):
    client = start()
    client.command("CREATE TABLE otjobs.thrown (a UInt8) ENGINE = Null")

    def throw(like: str) -> None:
        client.command(THROWS.format(like=like))

    return client, throw


def test_a_view_that_throws_at_everything_refuses_until_it_is_mended(throwing, span, request_of):
    client, throw = throwing
    assert send(client, request_of("view", job(span, 0))).status_code == 200
    throw("%")
    later = [request_of("view", *(job(span, 1 + 20 * n + m) for m in range(20))) for n in range(3)]
    for request in later:
        refused(send(client, request), "this view throws")
    client.command("DROP VIEW otjobs.throws")
    parts.wait_until(lambda: send(client, later[0]).status_code == 200, seconds=60)
    for request in later[1:]:
        assert send(client, request).status_code == 200
    assert figures(client, "view") == (61, 61)


def test_a_span_that_a_view_throws_at_costs_only_itself(throwing, span, request_of):
    client, throw = throwing
    throw("poison")
    spans = [job(span, n, "poison" if n in {7, 30} else "job") for n in range(40)]
    count, text = client.rejected(send(client, request_of("poison", *spans)))
    assert count == 2
    assert "2 x span cannot be stored with all its figures" in text
    assert "this view throws" in text
    # What could be stored of the two is kept: a rebuild gives them their figures when the view is mended
    assert figures(client, "poison")[0] == 40
    sound = "SELECT count() FROM jobs WHERE service = 'poison' AND job_id NOT IN ('id-7', 'id-30')"
    assert client.sql(sound) == [[38]]

    # Alone it cannot be told from a fault of the server: come back, until others show that it is the span
    alone = request_of("alone", job(span, 100, "poison"))
    refused(send(client, alone), "this view throws")
    assert client.rejected(send(client, request_of("alone", job(span, 101)))) == (0, "")
    assert client.rejected(send(client, request_of("alone", job(span, 102)))) == (0, "")
    assert {"job", "poison"} == set(client.names("alone"))


def test_the_figures_agree_when_a_stop_comes_in_between(throwing, span, request_of):
    client, throw = throwing
    throw("%")
    request = request_of("stop", job(span, 0))
    refused(send(client, request), "this view throws")
    client.command("DROP VIEW otjobs.throws")
    client.server.stop()
    again = type(client)(client.server)
    client.server.start()
    assert figures(again, "stop") == (1, 1)
    assert send(again, request).status_code == 200
    assert figures(again, "stop") == (1, 1)
