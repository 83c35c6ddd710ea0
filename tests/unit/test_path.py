"""Which way job spans are made is said, can be chosen, and never costs a job, whatever the installed SDK looks like."""

from __future__ import annotations

import functools
import importlib
import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import SpanLimits, TracerProvider

import otjobs
from otjobs import config
from otjobs.sdk import path
from otjobs.testing import capture_jobs

SDK = Path(importlib.import_module("otjobs.sdk").__path__[0])


def tracer(**options):
    return TracerProvider(shutdown_on_exit=False, **options).get_tracer("t")


@pytest.fixture
def fast(monkeypatch):
    """Set `OTEL_PYTHON_OTJOBS_FAST` for this test."""

    def given(value):
        monkeypatch.setenv("OTEL_PYTHON_OTJOBS_FAST", value)
        config.settings.cache_clear()

    monkeypatch.setattr(path, "_said", "")
    yield given
    monkeypatch.undo()
    config.settings.cache_clear()


def test_every_supported_sdk_takes_the_fast_path():
    assert path.choose(tracer()).line == "fast path"


def test_the_fast_path_can_be_switched_off(fast):
    fast("off")
    chosen = path.choose(tracer())
    assert chosen.line == "plain path: OTEL_PYTHON_OTJOBS_FAST is off"
    assert chosen.start_span is None


def test_the_reason_for_the_plain_path_is_said():
    assert "OTEL_SPAN_LINK_COUNT_LIMIT" in path.choose(tracer(span_limits=SpanLimits(max_links=5))).line


@pytest.mark.parametrize(
    ("value", "line"), [("auto", "fast path"), ("off", "plain path: OTEL_PYTHON_OTJOBS_FAST is off")]
)
def test_one_line_of_the_log_tells_the_path(fast, caplog, value, line):
    fast(value)
    with caplog.at_level(logging.INFO, logger="otjobs"):
        for _ in range(3):
            with capture_jobs() as captured, otjobs.dispatching("a"):
                pass
            assert [span.name for span in captured.spans] == ["dispatch a"]
    assert [r.getMessage() for r in caplog.records if "job spans" in r.getMessage()] == [f"otjobs: job spans: {line}"]


def test_jobs_of_the_plain_path_have_the_same_spans(fast):
    def spans():
        with capture_jobs(counting_ids=True) as captured:
            with otjobs.dispatching("a", job_id="7", queue="q", labels={"tenant": "acme"}) as dispatch:
                pass
            with otjobs.executing(dispatch.carrier, worker="w"):
                pass
        timeless = ("otjobs.job.enqueued_at", "otjobs.job.cpu_seconds")
        return [
            (s.name, s.kind, s.context.span_id, s.parent and s.parent.span_id, {k: v for k, v in s.attributes.items() if k not in timeless})
            for s in captured.spans
        ]  # fmt: skip

    fast("auto")
    made_fast = spans()
    fast("off")
    assert spans() == made_fast
    assert len(made_fast) == 2


# SDKs with another inside ------------------------------------------------------------------------------------------
RENAMED = """
import importlib.machinery, re, sys
NAME = sys.argv[1]
source = importlib.machinery.SourceFileLoader
as_it_is = source.get_code
def get_code(self, fullname):
    if not fullname.startswith("opentelemetry"):
        return as_it_is(self, fullname)
    path = self.get_filename(fullname)
    text = self.get_data(path).decode()
    return self.source_to_code(re.sub(rf"\\b{NAME}\\b", NAME + "_of_tomorrow", text).encode(), path)
source.get_code = get_code
sys.dont_write_bytecode = True

import http.server, json, logging, threading
lines = []
class Handler(logging.Handler):
    def emit(self, record):
        lines.append([record.levelname, record.getMessage()])
logging.getLogger("otjobs").addHandler(Handler())
logging.getLogger("otjobs").setLevel(logging.INFO)

received = []
class Collector(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        received.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
threading.Thread(target=server.serve_forever, daemon=True).start()

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"http://127.0.0.1:{server.server_address[1]}/v1/traces")))
trace.set_tracer_provider(provider)
import otjobs
from otjobs import faults, tracing
from otjobs.integrations.celery import CeleryInstrumentor
CeleryInstrumentor().instrument()
for _ in range(10):
    with otjobs.dispatching("job-of-today") as dispatch:
        pass
    with otjobs.executing(dispatch.carrier):
        pass
flushed = otjobs.flush(60)
CeleryInstrumentor().uninstrument()
spans = sum(body.count(b" job-of-today") for body in received)
print(json.dumps({"spans": spans, "flushed": flushed, "faults": faults.fault_counts(), "lines": lines}))
"""


@functools.cache
def private_names():
    """The private names of the SDK that the SDK wing knows, with the module that names them."""
    found = {}
    for module in ("fast_spans", "own_attributes", "fast_encoder", "exporters", "careful_encoder"):
        for name in re.findall(r"(?:\.|\")(_[a-z]\w*)\b", (SDK / f"{module}.py").read_text()):
            found.setdefault(name, module)
    texts, modules = [], set()
    for package in ("sdk", "attributes", "trace", "exporter.otlp.proto.http", "exporter.otlp.proto.common"):
        (folder,) = importlib.import_module(f"opentelemetry.{package}").__path__
        texts += [file.read_text() for file in Path(folder).rglob("*.py")]
        modules |= {part for file in Path(folder).rglob("*.py") for part in (file.stem, *file.parts)}
    text = "\n".join(texts)
    return {name: module for name, module in found.items() if name not in modules and re.search(rf"\b{name}\b", text)}


def with_renamed(name):
    clean = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", RENAMED, name], env=clean, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_nothing_renamed_is_no_fault():
    found = with_renamed("nothing_has_this_name")
    assert found == {
        "spans": 20, "flushed": True, "faults": {}, "lines": [["INFO", "otjobs: job spans: fast path"]],
    }  # fmt: skip


NAMES = sorted(
    {"_Span", "BoundedAttributes", "BoundedList", "encode_spans", "SynchronousMultiSpanProcessor", *private_names()}
)


def test_the_names_are_those_that_the_modules_use():
    assert {"_batch_processor", "_schedule_delay", "_attributes", "_span_limits", "_encode_resource_spans"} <= set(
        NAMES
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_an_sdk_that_has_renamed_one_of_its_inner_names_costs_no_job_and_at_most_one_warning(name):
    found = with_renamed(name)
    assert (found["spans"], found["flushed"]) == (20, True)
    assert sum(found["faults"].values()) <= 1, found["faults"]
    paths = [text for _, text in found["lines"] if "job spans: " in text]
    assert len(paths) == 1
    if private_names().get(name) == "fast_spans" or name in ("_Span", "BoundedAttributes", "BoundedList"):
        assert "plain path: the SDK's spans are not as expected" in paths[0]
        assert list(found["faults"].values()) == [1]
