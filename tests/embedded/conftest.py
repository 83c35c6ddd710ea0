from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otjobs.backend.server import Endpoints, Server

PROTOBUF = {"Content-Type": "application/x-protobuf"}


class Client:
    """Talks to one embedded server with plain requests."""

    def __init__(self, server: Server) -> None:
        self.server = server

    @property
    def at(self) -> Endpoints:
        return self.server.endpoints

    def post(self, body: bytes, path: str = "/v1/traces", **headers: str) -> requests.Response:
        named = {k.replace("_", "-"): v for k, v in headers.items()}
        return requests.post(self.at.otlp_http + path, data=body, headers={**PROTOBUF, **named}, timeout=60)

    def rejected(self, answer: requests.Response) -> tuple[int, str]:
        assert answer.status_code == 200, answer.text
        partial = ExportTraceServiceResponse.FromString(answer.content).partial_success
        return partial.rejected_spans, partial.error_message

    def sql(self, text: str, **params: str) -> list[list[Any]]:
        # ClickHouse reads parameters in its escaped form.
        escapes = str.maketrans({"\\": "\\\\", "\n": "\\n", "\t": "\\t"})
        given = {f"param_{k}": v.translate(escapes) for k, v in params.items()}
        answer = requests.post(
            f"http://{self.at.host}:{self.at.sql_port}/",
            params={"default_format": "JSONCompact", "output_format_json_quote_64bit_integers": "0", **given},
            data=text,
            timeout=60,
        )
        assert answer.status_code == 200, answer.text
        return json.loads(answer.text)["data"]

    @property
    def owner(self) -> tuple[str, str]:
        """User and password of who may write."""
        return ("owner", self.at.owner_token)

    def command(self, text: str) -> None:
        answer = requests.post(f"http://{self.at.host}:{self.at.sql_port}/", data=text, auth=self.owner, timeout=60)
        assert answer.status_code == 200, answer.text

    def names(self, service: str) -> list[str]:
        rows = self.sql("SELECT SpanName FROM otel_traces WHERE ServiceName = {s:String} ORDER BY SpanName", s=service)
        return [row[0] for row in rows]


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with Server(tmp_path_factory.mktemp("embedded") / "data") as server:
        yield Client(server)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Client]]:
    """Starts further servers, on `tmp_path/data` unless told otherwise, and ends them with the test."""
    servers: list[Server] = []

    def one(data: Path | None = None, **arguments: Any) -> Client:
        server = Server(data or tmp_path / "data", **arguments)
        servers.append(server)
        server.start()
        return Client(server)

    yield one
    for server in servers:
        server.kill()


_ids = iter(range(1, 1 << 62))


def _span(name: str = "s", **fields: Any) -> Span:
    number = next(_ids)
    now = time.time_ns()
    known: dict[str, Any] = {
        "trace_id": number.to_bytes(16, "big"),
        "span_id": number.to_bytes(8, "big"),
        "start_time_unix_nano": now,
        "end_time_unix_nano": now + 1_000,
    }
    attributes = fields.pop("attributes", {})
    made = Span(name=name, **{**known, **fields})
    for key, value in attributes.items():
        target = made.attributes.add(key=key).value
        kinds = {str: "string_value", bool: "bool_value", int: "int_value", float: "double_value", bytes: "bytes_value"}
        setattr(target, kinds[type(value)], value)
    return made


def _request(service: str, *spans: Span) -> ExportTraceServiceRequest:
    made = ExportTraceServiceRequest()
    resource_spans = made.resource_spans.add()
    resource_spans.resource.attributes.add(key="service.name").value.string_value = service
    resource_spans.scope_spans.add(spans=spans).scope.name = "tests"
    return made


@pytest.fixture
def span() -> Callable[..., Span]:
    return _span


@pytest.fixture
def request_of() -> Callable[..., ExportTraceServiceRequest]:
    return _request
