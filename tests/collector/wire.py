"""What the collector tests share: a collector process, and OTLP requests made by hand, so that they may be wrong."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import parts
import requests
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from clickhouses import ClickHouse

    from otjobs.backend.store import Store

FOLDER = Path(__file__).resolve().parent.parent.parent / "collector"
TOKEN = "token-of-the-tests"
SECOND = 1_000_000_000
NOW = time.time_ns() // SECOND * SECOND - 3600 * SECOND
_ids = itertools.count(1)


class Collector:
    """A collector on free loopback ports; `start` after `kill` reads the same queue."""

    shared = ("redaction.yaml",)

    def __init__(self, binary: Path, folder: Path, *configs: str | Path, **settings: str) -> None:
        self.binary, self.folder, self.configs = binary, folder, configs
        folder.mkdir(parents=True, exist_ok=True)
        self.grpc, self.http, self.health, self.metrics = (parts.free_port() for _ in range(4))
        self.settings = {
            "OTJOBS_TOKEN": TOKEN,
            "OTJOBS_GRPC_ENDPOINT": f"127.0.0.1:{self.grpc}",
            "OTJOBS_HTTP_ENDPOINT": f"127.0.0.1:{self.http}",
            "OTJOBS_HEALTH_ENDPOINT": f"127.0.0.1:{self.health}",
            "OTJOBS_METRICS_PORT": str(self.metrics),
            "OTJOBS_QUEUE_DIRECTORY": str(folder / "queue"),
            **settings,
        }
        self.process: parts.Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http}/v1/traces"

    def start(self) -> Self:
        command: list[str | Path] = [self.binary]
        for config in (*self.configs, *self.shared):
            command += ["--config", FOLDER / config]
        self.process = parts.Process(command, log=self.folder / "collector.log", env={**os.environ, **self.settings})
        self.process.wait_ready(
            lambda: parts.http_ok(f"http://127.0.0.1:{self.health}/"), seconds=90, what="the collector"
        )
        return self

    def kill(self) -> None:
        assert self.process
        self.process.signal(signal.SIGKILL)
        self.process.popen.wait()

    def stop(self) -> None:
        if self.process:
            self.process.stop(20)

    def metric(self, name: str) -> float:
        """The sum of a counter of the collector's own metrics."""
        text = requests.get(f"http://127.0.0.1:{self.metrics}/metrics", timeout=5).text
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))

    def post(
        self, body: bytes | ExportTraceServiceRequest, *, token: str = TOKEN, timeout: float = 30, **headers: str
    ) -> requests.Response:
        """POST bytes or a request to the OTLP/HTTP port."""
        data = body if isinstance(body, bytes) else body.SerializeToString()
        sent = {"Content-Type": "application/x-protobuf"}
        if token:
            sent["Authorization"] = f"Bearer {token}"
        sent.update({name.replace("_", "-"): value for name, value in headers.items()})
        return requests.post(self.url, data=data, headers=sent, timeout=timeout)


@contextlib.contextmanager
def running(*collectors: Collector) -> Iterator[Any]:
    """Start collectors, and stop what is left of them."""
    try:
        for collector in collectors:
            collector.start()
        yield collectors[0] if len(collectors) == 1 else collectors
    finally:
        for collector in collectors:
            collector.stop()


def gateway(
    binary: Path, folder: Path, clickhouse: ClickHouse, database: str, *more: str | Path, **settings: str
) -> Collector:
    endpoint = f"tcp://127.0.0.1:{clickhouse.tcp_port}?dial_timeout=5s"
    settings = {"OTJOBS_CLICKHOUSE_ENDPOINT": endpoint, "OTJOBS_CLICKHOUSE_DATABASE": database, **settings}
    return Collector(binary, folder, "gateway.yaml", *more, **settings)


def agent(binary: Path, folder: Path, endpoint: str, **settings: str) -> Collector:
    return Collector(
        binary,
        folder,
        "agent.yaml",
        **{"OTJOBS_GATEWAY_ENDPOINT": endpoint, "OTJOBS_GATEWAY_INSECURE": "true", **settings},
    )


def value(found: Any) -> AnyValue:
    if isinstance(found, AnyValue):
        return found
    if isinstance(found, bool):
        return AnyValue(bool_value=found)
    if isinstance(found, int):
        return AnyValue(int_value=found)
    if isinstance(found, float):
        return AnyValue(double_value=found)
    if isinstance(found, bytes):
        return AnyValue(bytes_value=found)
    if isinstance(found, list):
        return AnyValue(array_value=ArrayValue(values=[value(one) for one in found]))
    return AnyValue(string_value=found)


def span(
    job: object,
    *,
    kind: str = "process",
    start: int = NOW,
    seconds: float = 1.0,
    trace: bytes | None = None,
    span_id: bytes | None = None,
    end: int | None = None,
    **more: Any,
) -> Span:
    """One span of a job; a name in `more` is an attribute, its `__` a dot, and None leaves it out."""
    number = next(_ids)
    attributes: dict[str, Any] = {
        "messaging.system": "hand",
        "messaging.operation.type": kind,
        "messaging.destination.name": "q",
        "messaging.message.id": str(job),
        "otjobs.job.type": "work",
        "otjobs.job.enqueued_at": NOW - SECOND,
    }
    if kind == "process":
        attributes |= {"otjobs.job.attempt": 1, "otjobs.job.outcome": "success", "otjobs.job.dispatched": 0}
    attributes |= {name.replace("__", "."): found for name, found in more.items()}
    return Span(
        trace_id=f"{job!s:>16.16}".encode() if trace is None else trace,
        span_id=number.to_bytes(8, "big") if span_id is None else span_id,
        name="execute work",
        kind=Span.SPAN_KIND_CONSUMER,
        start_time_unix_nano=start,
        end_time_unix_nano=start + int(seconds * SECOND) if end is None else end,
        attributes=[KeyValue(key=key, value=value(v)) for key, v in attributes.items() if v is not None],
    )


def request(*spans: Span) -> ExportTraceServiceRequest:
    found = ExportTraceServiceRequest()
    resource = found.resource_spans.add()
    resource.resource.attributes.append(KeyValue(key="service.name", value=value("hand")))
    resource.scope_spans.add().spans.extend(spans)
    return found


def stored(store: Store, jobs: Iterable[object], *, seconds: float = 150) -> None:
    """Wait until `jobs` is exactly the set of job ids in the attempts view."""
    wanted: set[str] = {str(job) for job in jobs}
    seen: set[str] = set()

    def check() -> bool:
        nonlocal seen
        seen = {row[0] for row in store.query("SELECT DISTINCT job_id FROM attempts").rows}
        return wanted <= seen

    try:
        parts.wait_until(check, seconds=seconds, every=0.2)
    except TimeoutError:
        raise AssertionError(
            f"{len(wanted - seen)} of {len(wanted)} jobs are missing, such as {sorted(wanted - seen)[:5]}"
        ) from None
    assert seen == wanted, seen ^ wanted
