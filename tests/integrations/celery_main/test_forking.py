"""Exporters across a fork: a child has connections of its own, and counts drops of its own."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import threading

import pytest
from away import HOW, HTTP, away

PROGRAM = """
import multiprocessing, os, sys
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
import otjobs
from otjobs.sdk import lifecycle, losses

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)

def job():
    with otjobs.dispatching("job"):
        pass

job()
assert lifecycle.flush()
{then}
job()
"""
THEN = {
    "os.fork": "if os.fork() == 0:\n    job()\n    lifecycle.finish()\n    os._exit(0)\nos.wait()",
    "multiprocessing": "child = multiprocessing.get_context('fork').Process(target=job)\nchild.start()\nchild.join()",
    "billiard": "import billiard\nchild = billiard.Process(target=job)\nchild.start()\nchild.join()",
}


@pytest.fixture
def connections():
    """The URL of a collector, and the ports its clients came from, one for each request."""
    ports = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            ports.append(self.client_address[1])
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", ports
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("how", THEN)
def test_a_forked_child_sends_its_spans_over_a_connection_of_its_own(connections, how):
    url, ports = connections
    environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_METRICS_EXPORTER": "none"}
    subprocess.run([sys.executable, "-c", PROGRAM.format(then=THEN[how])], env=environment, check=True, timeout=60)
    assert len(ports) == 3
    first, child, last = ports
    assert child not in (first, last)


def test_a_child_does_not_answer_for_what_its_parent_dropped(connections):
    url, _ = connections
    then = (
        "losses.lost.spans = 7\n"
        "import logging; logging.basicConfig()\n"
        "if os.fork() == 0:\n    lifecycle.finish()\n    print('child done', flush=True)\n    os._exit(0)\n"
        "os.wait()"
    )
    environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_METRICS_EXPORTER": "none"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(then=then)],
        env=environment,
        check=True,
        timeout=60,
        capture_output=True,
        text=True,
    )
    assert "child done" in done.stdout
    assert done.stderr.count("7 of its spans are lost") == 1


FORKING = """
import os, threading, time
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
import otjobs
from otjobs.sdk import lifecycle, losses

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)

def work():
    while True:
        with otjobs.dispatching("job"), otjobs.executing({}):
            pass
        time.sleep(0.001)

for _ in range(4):
    threading.Thread(target=work, daemon=True).start()
time.sleep(2)
children = []
for _ in range(12):
    children.append(os.fork())
    if not children[-1]:
        with otjobs.dispatching("job"), otjobs.executing({}):
            pass
        lifecycle.finish()
        os._exit(0)
    time.sleep(0.05)
for child in children:
    assert os.waitpid(child, 0)[1] == 0
print("all ended", flush=True)
"""


@pytest.mark.parametrize("how", HOW)
def test_children_forked_while_threads_make_and_export_spans_end_within_the_bound(collector, how):
    """As in a server that forks its workers late; whoever waits for the collector would wait five minutes."""
    with away(how, HTTP, collector) as url:
        environment = {
            **os.environ,
            "OTEL_EXPORTER_OTLP_ENDPOINT": url,
            "OTEL_EXPORTER_OTLP_TIMEOUT": "300",
            "OTEL_PYTHON_OTJOBS_FLUSH_SECONDS": "1",
        }
        done = subprocess.run(
            [sys.executable, "-c", FORKING], env=environment, timeout=60, capture_output=True, text=True, check=True
        )
    assert done.stdout == "all ended\n"


WAITING = """
import resource, sys
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
import otjobs

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)

def jobs(count):
    for _ in range(count):
        with otjobs.dispatching("job", system="s", queue="orders") as dispatch:
            pass
        with otjobs.executing(dispatch.carrier):
            pass

def memory():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

jobs(10)
before = memory()
jobs(2_000)
full = memory()
jobs(20_000)
print(full - before, memory() - full, flush=True)
"""


def test_what_waits_for_a_hanging_collector_is_bounded_in_memory(collector):
    with away("hangs", HTTP, collector) as url:
        environment = {
            **os.environ,
            "OTEL_EXPORTER_OTLP_ENDPOINT": url,
            "OTEL_EXPORTER_OTLP_TIMEOUT": "300",
            "OTEL_PYTHON_OTJOBS_FLUSH_SECONDS": "1",
        }
        done = subprocess.run(
            [sys.executable, "-c", WAITING], env=environment, timeout=120, capture_output=True, text=True, check=True
        )
    until_full, after = map(int, done.stdout.split())
    assert until_full < 16 * 1024 * 1024
    assert after < 2 * 1024 * 1024
    assert "spans were dropped because the span queue is full" in done.stderr
