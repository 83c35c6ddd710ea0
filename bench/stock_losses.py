"""What is left of a Celery worker's jobs when its processes are recycled, stopped or killed: stock tracing and ours.

Runs the same application under `opentelemetry-instrumentation-celery` and under otjobs, on a real worker with a real
Redis, and counts the attempts that left a span beside those that the application itself logged. Takes about a minute;
the exit status is 1 when otjobs misses one.

    python bench/stock_losses.py
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "integrations"), str(TESTS / "integrations" / "celery_main")]

import parts  # noqa: E402  (what the tests share)
from celery_main_harness import Yard, counting, stop  # noqa: E402
from otlp_receiver import Receiver  # noqa: E402

# name -> (worker options, jobs as (task, how many), what the application must have logged before the worker is stopped)
SCENES = {
    "children recycled after every job": (("--max-tasks-per-child", "1"), [("quick", 10)], ("ended", 10)),
    "stopped right after the jobs": ((), [("quick", 20)], ("ended", 20)),
    "killed: SIGKILL, os._exit, hard time limit": (
        (),
        [("killed", 2), ("exits", 2), ("overtime", 2)],
        ("started", 8),
    ),
    "ten good jobs, then the child is killed": (
        ("-c", "1"),
        [("quick", 10), ("killed", 1), ("quick", 1)],
        ("ended", 11),
    ),
}
DISABLED = {"stock": "otjobs_celery,redis", "otjobs": "celery,redis"}


def attempts_with_spans(yard, which):
    """(job, attempt) of every attempt that has a span of its run."""
    if which == "stock":
        runs = [s for s in yard.spans if s.name.startswith("run/")]
        return {(s["messaging.message.id"], s.get("celery.retries", 0) + 1) for s in runs}
    spans = [counting(found) for found in yard.jobs().values()]
    return {(s.job, s["otjobs.job.attempt"]) for s in spans}


def play(folder, receiver, redis, which, scene):
    options, jobs, (what, count) = SCENES[scene]
    yard = Yard(folder, receiver, redis)
    try:
        worker = yard.worker(*options, OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=DISABLED[which])
        code = "".join(f"for _ in range({n}): {task}.apply_async()\n" for task, n in jobs)
        yard.produce(code, OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=DISABLED[which])
        yard.wait_for(what, count)
        if "killed" in scene:  # the main process must have seen it
            parts.wait_until(
                lambda: worker.output(100_000).count("Error") >= sum(n for t, n in jobs if t != "quick"), seconds=20
            )
        stop(worker)
        logged = {(e["job"], e["attempt"]) for e in yard.seen("started")}
        return len(logged), len(logged & attempts_with_spans(yard, which))
    finally:
        yard.stop()


def main():
    receiver = Receiver()
    missing = 0
    with tempfile.TemporaryDirectory() as name, parts.redis_server(Path(name) / "redis") as redis:
        print(f"{'attempts':50} {'logged':>8} {'stock':>8} {'otjobs':>8}")
        for number, scene in enumerate(SCENES):
            found = {}
            for which in DISABLED:
                folder = Path(name) / f"{number}-{which}"
                folder.mkdir()
                logged, found[which] = play(folder, receiver, redis, which, scene)
                if which == "otjobs":
                    missing += logged - found[which]
            print(f"{scene:50} {logged:>8} {found['stock']:>8} {found['otjobs']:>8}", flush=True)
    receiver.close()
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
