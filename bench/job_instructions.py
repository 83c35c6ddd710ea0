"""Processor instructions per Celery job, counted by valgrind: figures that no other work on the machine changes.

    python bench/job_instructions.py [--jobs N] [--exporter null|http] [--variant NAME ...]

Each run is a process under `valgrind --tool=callgrind` (install valgrind with the system's package manager) that
publishes jobs to an in-memory broker and runs them in the same thread; what counts is the difference between a run of
many jobs and one of few. `http` also encodes the spans, in batches of 512, and sends them nowhere. It takes minutes.

Instructions are not time: code that is rarely run waits for memory. `celery_overhead.py` measures CPU time.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import types
from typing import Any

from celery_overhead import VARIANTS, clean_environment, instrument
from figures import emit, table

FEW, BATCH = 100, 512


def run_one(variant: str, exporter: str, jobs: int) -> None:
    """Publish and run that many jobs."""
    from celery import Celery, signals
    from celery.app.trace import build_tracer, setup_worker_optimizations
    from celery.concurrency.solo import TaskPool
    from celery.worker import request, strategy
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

    spans: list[Any] = []

    class Keep(SpanProcessor):
        def on_end(self, span: Any) -> None:
            spans.append(span)

    app = Celery("bench", broker="memory://", backend="cache+memory://")
    app.conf.update(task_ignore_result=True, task_default_queue="orders")

    @app.task(name="shop.order")
    def order(number: int) -> int:
        return number

    provider = TracerProvider(resource=Resource.create({"service.name": "bench"}))
    provider.add_span_processor(Keep())
    instrument(variant, provider)
    app.finalize()
    task = app.tasks["shop.order"]
    channel = app.connection().default_channel
    setup_worker_optimizations(app, "me@host")
    task.__trace__ = build_tracer(task.name, task, app=app, loader=app.loader, hostname="me@host")
    pool = TaskPool(1, app=app)
    pool.start()
    order.apply_async((0,))
    made = strategy.create_request_cls(request.Request, task, pool, "me@host", None)
    quiet = types.SimpleNamespace(enabled=False)

    def batch(count: int) -> None:
        for number in range(count):
            order.apply_async((number,))
        for _ in range(count):
            message = channel.basic_get("orders", no_ack=True)
            one = made(
                message, app=app, task=task, hostname="me@host", eventer=quiet, body=message.body,
                headers=message.headers, decoded=False, utc=True, on_ack=lambda *_: None, on_reject=lambda *_: None,
            )  # fmt: skip
            signals.task_received.send(sender=None, request=one)
            one.execute_using_pool(pool)
        for first in range(0, len(spans), BATCH) if exporter == "http" else ():
            encode_spans(spans[first : first + BATCH]).SerializeToString()
        spans.clear()

    batch(64)
    batch(jobs)
    os._exit(0)


def count(variant: str, exporter: str, jobs: int) -> int:
    """Return the instructions of a run."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            "valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out", sys.executable, __file__,
            "--run", variant, "--exporter", exporter, "--jobs", str(jobs),
        ]  # fmt: skip
        environment = {**clean_environment(), "PYTHONHASHSEED": "0"}
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=1800, env=environment)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if found is None:
        raise SystemExit(done.stderr[-2000:])
    return int(found[1])


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--jobs", type=int, default=512, help="by which the longer run is longer")
    options.add_argument("--exporter", choices=("null", "http"), nargs="+", default=("null", "http"))
    options.add_argument("--variant", choices=VARIANTS, nargs="+", default=VARIANTS)
    options.add_argument("--run", choices=VARIANTS, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.run:
        run_one(given.run, given.exporter[0], given.jobs)
        return
    if shutil.which("valgrind") is None:
        raise SystemExit("valgrind is not there; get it with: apt-get install valgrind")
    figures: dict[str, dict[str, int]] = {}
    for exporter in given.exporter:
        for variant in given.variant:
            more = count(variant, exporter, FEW + given.jobs) - count(variant, exporter, FEW)
            figures.setdefault(exporter, {})[variant] = more // given.jobs
    rows = [[exporter, variant, f"{n:,}"] for exporter, found in figures.items() for variant, n in found.items()]
    table("Instructions per Celery job", ["exporter", "variant", "instructions"], rows)
    emit("job_instructions", **figures)


if __name__ == "__main__":
    main()
