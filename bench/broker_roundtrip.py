"""What a caller waits for `apply_async`, and a job for its start, with and without otjobs and the stock instrumentation.

    python bench/broker_roundtrip.py [--quick] [--rounds N] [--jobs N]

One process publishes to a real Redis and a solo worker in a thread of it runs the jobs, one at a time: the next job is
published when the last one has started. Wall clock, so a busy machine shows; the variants alternate inside a round, and
the figures are medians of the rounds' percentiles. Spans go to a batch processor with a null exporter.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import parts
from celery_overhead import VARIANTS, clean_environment, instrument, provider_for
from figures import emit, end_cleanly, median, skipped, table

PERCENTILES = (50, 90, 99)


def run_one(variant: str, broker: str, jobs: int) -> None:
    """Print the percentiles of both waits in µs as JSON."""
    from celery import Celery
    from celery.worker.worker import WorkController

    app = Celery("bench", broker=broker)
    app.conf.update(
        task_ignore_result=True, task_default_queue="orders", worker_hijack_root_logger=False, worker_enable_remote_control=False,
        worker_prefetch_multiplier=1, worker_send_task_events=False,
    )  # fmt: skip
    started = threading.Event()
    at = [0]

    @app.task(name="shop.order")
    def order(_: int) -> None:
        at[0] = time.perf_counter_ns()
        started.set()

    if variant != "none":
        instrument(variant, provider_for("null", ""))
    worker = WorkController(app=app, pool_cls="solo", concurrency=1, quiet=True, without_gossip=True, without_mingle=True, without_heartbeat=True)  # fmt: skip
    threading.Thread(target=worker.start, daemon=True).start()
    calls, starts = [], []
    for number in range(jobs + 50):
        started.clear()
        before = time.perf_counter_ns()
        order.apply_async((number,))
        after = time.perf_counter_ns()
        if not started.wait(60):
            raise SystemExit("a job did not start")
        if number >= 50:  # warm
            calls.append((after - before) / 1_000)
            starts.append((at[0] - before) / 1_000)
    calls.sort()
    starts.sort()
    found = {
        name: {str(p): values[min(len(values) - 1, len(values) * p // 100)] for p in PERCENTILES}
        for name, values in (("call", calls), ("start", starts))
    }
    sys.stdout.write(json.dumps(found))
    sys.stdout.flush()
    os._exit(0)  # the solo worker has no end of its own in a thread


def main() -> None:
    end_cleanly()
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--quick", action="store_true", help="fewer rounds, for CI")
    options.add_argument("--rounds", type=int)
    options.add_argument("--jobs", type=int)
    options.add_argument("--run", choices=VARIANTS, help=argparse.SUPPRESS)
    options.add_argument("--broker", default="", help=argparse.SUPPRESS)
    given = options.parse_args()
    jobs = given.jobs or (300 if given.quick else 1_000)
    if given.run:
        run_one(given.run, given.broker, jobs)
        return
    if skipped("broker_roundtrip", "redis"):
        return
    rounds = given.rounds or (2 if given.quick else 5)
    seen: dict[str, list[dict[str, dict[str, float]]]] = {variant: [] for variant in VARIANTS}
    with tempfile.TemporaryDirectory() as folder, parts.redis_server(Path(folder)) as broker:
        for number in range(rounds):
            for variant in VARIANTS if number % 2 == 0 else VARIANTS[::-1]:
                command = [sys.executable, __file__, "--run", variant, "--broker", broker, "--jobs", str(jobs)]
                done = subprocess.run(
                    command, capture_output=True, text=True, timeout=300, env=clean_environment(), check=False
                )
                if done.returncode or not done.stdout:
                    raise SystemExit(f"{variant} ended with {done.returncode}: {done.stderr[-2000:]}")
                seen[variant].append(json.loads(done.stdout))
    figures = {
        variant: {
            f"{name}_p{p}_us": round(median([one[name][str(p)] for one in seen[variant]]))
            for name in ("call", "start")
            for p in PERCENTILES
        }
        for variant in VARIANTS
    }
    table(
        f"Waiting in µs over Redis, {jobs} jobs a run, median of {rounds} alternated rounds",
        ["variant", *(f"call p{p}" for p in PERCENTILES), *(f"call to start p{p}" for p in PERCENTILES)],
        [[variant, *map(str, figures[variant].values())] for variant in VARIANTS],
    )
    emit("broker_roundtrip", jobs=jobs, rounds=rounds, **figures)


if __name__ == "__main__":
    main()
