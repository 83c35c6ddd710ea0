"""Texts and times that cannot be encoded, through the real exporters: every span of the batch arrives."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent import futures

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from otlp_receiver import Receiver

from otjobs import attributes as a

# A file name in Latin-1 as Python reads it, and half an emoji: neither has a UTF-8 form.
SCRIPT = """
import logging, os, time
logging.basicConfig(format="%(name)s %(message)s")
from opentelemetry import trace
import otjobs
BAD, HALF = os.fsdecode(b"M\\xfcller"), "\\ud83d"
tracer = trace.get_tracer("the application's")
def job(n, job_type="fine", error=None, late=None, **more):
    with otjobs.dispatching(job_type, **{"job_id": f"good {n}", **more}) as d: pass
    try:
        with otjobs.executing(d.carrier):
            if late: trace.get_current_span().set_attribute("file", late)
            if error: raise error
    except ValueError: pass
    return d.carrier
for n in range(20): job(n)
job(0, "type " + BAD, queue="queue " + BAD, system="system " + HALF, job_id="id " + BAD, labels={"file": BAD, BAD: "x"})
job(20, error=ValueError(BAD), late=BAD)
otjobs.ended(job(21), "failure", error_type=BAD, started_at=time.time() * 1e9)
tracer.start_span("span " + BAD).end()
span = tracer.start_span("status"); span.set_status(trace.Status(trace.StatusCode.ERROR, HALF)); span.end()
span = tracer.start_span("event"); span.add_event(BAD); span.end()
tracer.start_span("float", start_time=time.time() * 1e9).end()
tracer.start_span("negative", start_time=-5).end(10)
for n in range(20): job(100 + n)
print(otjobs.flush())
"""


@pytest.fixture
def receiver():
    found = Receiver()
    yield found
    found.close()


@pytest.fixture
def grpc_url(receiver):
    class Traces(trace_service_pb2_grpc.TraceServiceServicer):
        def Export(self, request, context):
            receiver.take(request.SerializeToString())
            return trace_service_pb2.ExportTraceServiceResponse()

    server = grpc.server(futures.ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Traces(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"http://127.0.0.1:{port}"
    server.stop(0)


@pytest.mark.parametrize("how", ["type", "stack"])
@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_every_span_arrives(receiver, grpc_url, protocol, how):
    clean = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    settings = {
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_ENDPOINT": grpc_url if protocol == "grpc" else receiver.url,
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_PYTHON_OTJOBS_EXCEPTIONS": how,
        "OTEL_BSP_SCHEDULE_DELAY": "60000",  # one batch
    }
    command = [os.path.join(os.path.dirname(sys.executable), "opentelemetry-instrument"), sys.executable, "-c", SCRIPT]
    run = subprocess.run(command, env={**clean, **settings}, capture_output=True, text=True, timeout=180, check=True)
    assert run.stdout == "True\n"
    spans = receiver.spans
    ours = [s for s in spans if s.scope == "otjobs"]
    assert len(ours) == 2 * 43 + 1
    assert {s.job for s in ours} == {f"good {n}" for n in [*range(22), *range(100, 120)] if n} | {
        "good 0",
        "id M\\udcfcller",
    }
    (odd,) = {tuple(s[k] for k in (a.JOB_TYPE, a.QUEUE, a.SYSTEM)) for s in ours if s.job.startswith("id")}
    assert odd == ("type M\\udcfcller", "queue M\\udcfcller", "system \\ud83d")
    assert [s["file"] for s in ours if "file" in s.attributes] == ["M\\udcfcller"]
    foreign = sorted(s.name for s in spans if s.scope != "otjobs")
    assert foreign == ["event", "float", "negative", "span M\\udcfcller", "status"]
    assert "Traceback" not in run.stderr
    assert "did not take" not in run.stderr
    # What had to be mended in spans of others is counted once for the batch, with its cause.
    (line,) = [line for line in run.stderr.splitlines() if "mended" in line]
    assert "(5 so far in this process)" in line
