"""CPU per Celery job: ours beside the stock Celery instrumentation and beside none.

    python bench/celery_overhead.py [--quick] [--rounds N] [--jobs N] [--exporter NAME ...]

Each run is a process of its own: it publishes the jobs to an in-memory broker, runs them in a solo worker and flushes;
what counts is the CPU time of that process from the first publish to the end of the flush, exporter threads included.
The exporters take turns, and the variants of each alternate inside a round; overhead is a variant's CPU minus that of
`none` next to it, and the figures are medians over the rounds. The exporters:

- `null` takes batches and forgets them, so that recording alone is seen;
- `http` and `grpc` are OpenTelemetry's own, sending to a sink in another process, so that encoding is seen too;
- `foreign` is somebody else's, which calls the SDK's public encoder and sends what it answers over HTTP.

The goal: ours at most 0.6 of the stock overhead with each that sends.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import resource
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from figures import emit, end_cleanly, median, table

if TYPE_CHECKING:
    from collections.abc import Iterator

VARIANTS = ("none", "stock", "ours")
EXPORTERS = ("null", "http", "grpc", "foreign")
GOAL = 0.6
WARM_UP = 200


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


# The measured process ------------------------------------------------------------------------------------------------
def exporter_of(kind: str, endpoint: str) -> Any:
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as Grpc
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as Http
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    class Null(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            return SpanExportResult.SUCCESS

        def shutdown(self) -> None:
            pass

    class Foreign(Null):
        """What a vendor's exporter does: it measures the message, and sends it its own way."""

        def __init__(self, endpoint: str) -> None:
            target = urlsplit(endpoint)
            self.path, self.connection = target.path, http.client.HTTPConnection(target.netloc)

        def export(self, spans: Any) -> SpanExportResult:
            message = encode_spans(spans)
            if message.ByteSize() > 4 << 20:
                return SpanExportResult.FAILURE
            self.connection.request("POST", self.path, message.SerializeToString())
            self.connection.getresponse().read()
            return SpanExportResult.SUCCESS

    if kind == "null":
        return Null()
    if kind == "grpc":
        return Grpc(endpoint, insecure=True)
    return Http(endpoint) if kind == "http" else Foreign(endpoint)


def provider_for(exporter: str, endpoint: str) -> Any:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": "bench"}))
    # A queue that no burst fills: dropped spans would cost nothing.
    provider.add_span_processor(
        BatchSpanProcessor(exporter_of(exporter, endpoint), max_queue_size=1 << 20, schedule_delay_millis=500)
    )
    return provider


def instrument(variant: str, provider: Any) -> None:
    if variant == "stock":
        from opentelemetry.instrumentation.celery import CeleryInstrumentor as Stock

        Stock().instrument(tracer_provider=provider)
    elif variant == "ours":
        from otjobs.integrations.celery import CeleryInstrumentor as Ours

        Ours().instrument(tracer_provider=provider)


def run_one(variant: str, exporter: str, endpoint: str, jobs: int) -> None:
    """Print the CPU seconds of `jobs` jobs, publishing and running apart, as JSON."""
    from celery import Celery
    from celery.worker.worker import WorkController

    app = Celery("bench", broker="memory://", backend="cache+memory://")
    app.conf.update(
        task_ignore_result=True, task_default_queue="orders", worker_hijack_root_logger=False, worker_enable_remote_control=False,
        worker_prefetch_multiplier=64, worker_send_task_events=False, broker_transport_options={"polling_interval": 0.05},
    )  # fmt: skip
    done, go = threading.Event(), threading.Event()
    left = [0]

    @app.task(name="shop.gate")
    def gate() -> None:
        """Keep the worker away from the queue while jobs are published."""
        go.wait(60)

    @app.task(name="shop.order")
    def order(number: int) -> int:
        left[0] -= 1
        if not left[0]:
            done.set()
        return number

    provider = provider_for(exporter, endpoint) if variant != "none" else None
    instrument(variant, provider)
    worker = WorkController(app=app, pool_cls="solo", concurrency=1, quiet=True, without_gossip=True, without_mingle=True, without_heartbeat=True)  # fmt: skip

    def batch(count: int) -> tuple[float, float]:
        left[0] = count
        done.clear()
        go.clear()
        gate.apply_async()
        time.sleep(0.2)
        began = cpu_seconds()
        for number in range(count):
            order.apply_async((number,))
        published = cpu_seconds()
        go.set()
        if not done.wait(300):
            raise SystemExit("the jobs did not end")
        if provider is not None:
            provider.force_flush(60_000)
        return published - began, cpu_seconds() - published

    threading.Thread(target=worker.start, daemon=True).start()
    batch(WARM_UP)
    publish, execute = batch(jobs)
    sys.stdout.write(
        json.dumps({"publish": publish / jobs, "execute": execute / jobs, "total": (publish + execute) / jobs})
    )
    sys.stdout.flush()
    os._exit(0)  # the solo worker has no end of its own in a thread


# The measuring process -----------------------------------------------------------------------------------------------
@contextmanager
def sink() -> Iterator[dict[str, str]]:
    """A server that takes every request; a process of its own, so that its CPU is not counted.

    Gives its address for each exporter.
    """
    process = subprocess.Popen([sys.executable, __file__, "--sink"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        by_http, by_grpc = process.stdout.readline().split()
        yield {"null": "-", "http": by_http, "grpc": by_grpc, "foreign": by_http}
    finally:
        process.kill()
        process.wait()


def serve_sink() -> None:
    import grpc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    class Export(grpc.GenericRpcHandler):
        def service(self, _: object) -> Any:
            return grpc.unary_unary_rpc_method_handler(lambda _request, _context: b"")

    by_grpc = grpc.server(
        ThreadPoolExecutor(2), handlers=(Export(),), options=[("grpc.max_receive_message_length", -1)]
    )
    port = by_grpc.add_insecure_port("127.0.0.1:0")
    by_grpc.start()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(f"http://127.0.0.1:{server.server_port}/v1/traces 127.0.0.1:{port}", flush=True)
    server.serve_forever()


def clean_environment() -> dict[str, str]:
    """Return this environment without settings of OpenTelemetry."""
    return {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}


def measure(variant: str, exporter: str, endpoint: str, jobs: int) -> dict[str, float]:
    command = [
        sys.executable,
        __file__,
        "--run",
        variant,
        "--exporter",
        exporter,
        "--endpoint",
        endpoint,
        "--jobs",
        str(jobs),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=clean_environment(), check=False)
    if done.returncode or not done.stdout:
        raise SystemExit(f"{variant} ended with {done.returncode}: {done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    end_cleanly()
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--quick", action="store_true", help="fewer rounds, for CI")
    options.add_argument("--rounds", type=int)
    options.add_argument("--jobs", type=int)
    options.add_argument("--exporter", choices=EXPORTERS, nargs="+", default=EXPORTERS)
    options.add_argument("--run", choices=VARIANTS, help=argparse.SUPPRESS)
    options.add_argument("--sink", action="store_true", help=argparse.SUPPRESS)
    options.add_argument("--endpoint", default="", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.sink:
        serve_sink()
        return
    jobs = given.jobs or (1_000 if given.quick else 3_000)
    if given.run:
        run_one(given.run, given.exporter[0], given.endpoint, jobs)
        return

    rounds = given.rounds or (3 if given.quick else 7)
    seen: dict[str, dict[str, list[dict[str, float]]]] = {
        exporter: {variant: [] for variant in VARIANTS} for exporter in given.exporter
    }
    with sink() as endpoints:
        for number in range(rounds):
            for exporter in given.exporter:
                for variant in VARIANTS if number % 2 == 0 else VARIANTS[::-1]:
                    seen[exporter][variant].append(measure(variant, exporter, endpoints[exporter], jobs))
    rows, figures = [], {}
    for exporter, runs in seen.items():

        def overhead(variant: str, part: str, runs: dict[str, list[dict[str, float]]] = runs) -> float:
            pairs = zip(runs[variant], runs["none"], strict=True)
            return median([(one[part] - none[part]) * 1e6 for one, none in pairs])

        ratios = [
            (ours["total"] - none["total"]) / (stock["total"] - none["total"])
            for none, stock, ours in zip(*(runs[variant] for variant in VARIANTS), strict=True)
        ]
        ratio = median(ratios)
        for variant in VARIANTS:
            total = median([one["total"] * 1e6 for one in runs[variant]])
            extra = [
                f"{overhead(variant, part):.0f}" if variant != "none" else ""
                for part in ("publish", "execute", "total")
            ]
            share = f"{ratio:.2f} ({min(ratios):.2f} to {max(ratios):.2f})" if variant == "ours" else ""
            rows.append([exporter, variant, f"{total:.0f}", *extra, share])
        figures[exporter] = {
            "none_us": round(median([one["total"] * 1e6 for one in runs["none"]]), 1),
            "stock_overhead_us": round(overhead("stock", "total"), 1),
            "ours_overhead_us": round(overhead("ours", "total"), 1),
            "ratio": round(ratio, 3),
            "ratio_min": round(min(ratios), 3),
            "ratio_max": round(max(ratios), 3),
            "met": ratio <= GOAL,
        }
    table(
        f"CPU per Celery job in µs, {jobs} jobs a run, median of {rounds} alternated rounds",
        ["exporter", "variant", "per job", "+publish", "+execute", "+both", f"of stock (goal {GOAL})"],
        rows,
    )
    emit("celery_overhead", jobs=jobs, rounds=rounds, goal=GOAL, **figures)


if __name__ == "__main__":
    main()
