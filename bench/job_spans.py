"""OTLP requests of realistic job spans, made faster than any receiver takes them.

A request is encoded once; for each sending only the ids in its bytes are changed, which costs next to nothing, so that
the load generator does not eat the cores that are measured.
"""

from __future__ import annotations

import os
import random
import re
import time
from dataclasses import dataclass

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

TYPES = {"shop.order": "orders", "shop.charge": "payments", "shop.mail": "mails", "shop.report": "reports", "shop.index": "search"}  # fmt: skip
_JOB_ID = 36


def _attribute(span: Span, key: str, value: object) -> None:
    target = span.attributes.add(key=key).value
    if isinstance(value, str):
        target.string_value = value
    elif isinstance(value, float):
        target.double_value = value
    elif isinstance(value, int):
        target.int_value = value


def _hex(raw: bytes) -> bytes:
    return raw.hex().encode()


@dataclass
class Template:
    """One encoded request and where its ids stand."""

    body: bytearray
    spans: int
    places: list[tuple[int, list[int]]]
    """Length of an id in bytes, and the offsets of its copies; a negative length means hex digits."""

    def fresh(self) -> bytes:
        """Return the request with new ids."""
        body = self.body
        pool = os.urandom(sum(abs(length) for length, _ in self.places))
        at = 0
        for length, offsets in self.places:
            if length < 0:
                raw = pool[at : at - length // 2].hex().encode()
                at += -length // 2
            else:
                raw = pool[at : at + length]
                at += length
            for offset in offsets:
                body[offset : offset + len(raw)] = raw
        return bytes(body)


def template(jobs: int, *, seed: int, service: str = "shop") -> Template:
    """Return a request with the dispatch and execute spans of `jobs` jobs, started within the last minute."""
    chance = random.Random(seed)
    request = ExportTraceServiceRequest()
    ids: list[tuple[int, bytes]] = []

    def new(length: int) -> bytes:
        raw = chance.randbytes(length)
        ids.append((length, raw))
        return raw

    resource = request.resource_spans.add()
    for key, value in (
        ("service.name", service), ("service.version", "1.4.2"), ("service.instance.id", "b5c0c3d2-7d4f-4d0e-9f9e-1f1f2a2b3c3d"),
        ("host.name", "worker-7"), ("telemetry.sdk.language", "python"), ("telemetry.sdk.name", "opentelemetry"), ("telemetry.sdk.version", "1.45.2"),
    ):  # fmt: skip
        resource.resource.attributes.add(key=key).value.string_value = value
    scope = resource.scope_spans.add()
    scope.scope.name, scope.scope.version = "otjobs", "0.1.0"
    now = time.time_ns()
    for _ in range(jobs):
        job_type, queue = chance.choice(list(TYPES.items()))
        trace, dispatch_id, execute_id = new(16), new(8), new(8)
        job_id = _hex(chance.randbytes(_JOB_ID // 2))
        ids.append((-_JOB_ID, job_id))
        enqueued = now - chance.randrange(60 * 10**9)
        started = enqueued + int(chance.lognormvariate(0, 1) * 1e9)
        ended = started + int(chance.lognormvariate(-2, 1) * 1e9)
        common = {
            "messaging.system": "celery", "messaging.destination.name": queue, "messaging.message.id": job_id.decode(), "otjobs.job.type": job_type,
            "otjobs.job.enqueued_at": enqueued, "otjobs.job.max_attempts": 4, "otjobs.trigger": "request", "otjobs.trigger.name": "/orders",
        }  # fmt: skip
        span = scope.spans.add(
            trace_id=trace, span_id=dispatch_id, name=f"dispatch {job_type}", kind=Span.SPAN_KIND_PRODUCER,
            start_time_unix_nano=enqueued, end_time_unix_nano=enqueued + 900_000,
        )  # fmt: skip
        sent: dict[str, object] = {
            **common,
            "messaging.operation.type": "send",
            "messaging.operation.name": "dispatch",
        }
        for name, what in sent.items():
            _attribute(span, name, what)
        failed = chance.random() < 0.02
        span = scope.spans.add(
            trace_id=trace, span_id=execute_id, parent_span_id=dispatch_id, name=f"execute {job_type}", kind=Span.SPAN_KIND_CONSUMER,
            start_time_unix_nano=started, end_time_unix_nano=ended,
        )  # fmt: skip
        more: dict[str, object] = {
            "messaging.operation.type": "process", "messaging.operation.name": "execute", "otjobs.job.attempt": 1, "otjobs.worker": "celery@worker-7",
            "otjobs.job.received_at": started - 2_000_000, "otjobs.job.outcome": "failure" if failed else "success", "otjobs.job.dispatched": 0,
            "otjobs.job.cpu_seconds": (ended - started) / 2e9,
        }  # fmt: skip
        if failed:
            more["error.type"] = "ValueError"
            span.status.code = 2
        for name, what in {**common, **more}.items():
            _attribute(span, name, what)
        span.links.add(trace_id=trace, span_id=dispatch_id)
    body = request.SerializeToString()
    places = [(length, [found.start() for found in re.finditer(re.escape(raw), body)]) for length, raw in ids]
    return Template(bytearray(body), 2 * jobs, places)
