"""Milliseconds per RQ job of a real worker, plain and traced: time and CPU, with a work horse forked for each job.

    python bench/rq_jobs.py [--quick] [--rounds N] [--jobs N] [--kind Worker|SpawnWorker|SimpleWorker]

In each round the variants take turns; each is a worker process of its own that works off a queue filled before. What
counts is the time from the start of the first job to the end of the last one, as RQ notes them in Redis: the start of
the worker is no part of it, the fork, the run and the sending of each job's span are. The CPU is that of the worker and
of its horses, minus that of a worker with one job. The variants:

- `plain` is `rq worker`;
- `launcher` is the same under `opentelemetry-instrument`, with the tracing of jobs left out;
- `http` and `grpc` trace jobs and send to a sink in another process.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import parts
from celery_overhead import sink
from figures import emit, end_cleanly, median, skipped, table
from redis import Redis
from rq import Queue
from rq.job import Job

VARIANTS = ("plain", "launcher", "http", "grpc")
OTHERS = (
    "celery,redis,requests,urllib,urllib3,grpc_client,grpc_server,grpc_aio_client,grpc_aio_server,logging,threading"
)


def environment(variant: str, addresses: dict[str, str]) -> dict[str, str]:
    protocol = "grpc" if variant == "grpc" else "http/protobuf"
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith("OTEL_")},
        "OTEL_SERVICE_NAME": "bench",
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": addresses.get(variant, addresses["http"]),
        "OTEL_EXPORTER_OTLP_TRACES_INSECURE": "true",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": OTHERS + ",otjobs_celery" + ",otjobs_rq" * (variant == "launcher"),
    }


def cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def one(variant: str, kind: str, jobs: int, url: str, addresses: dict[str, str]) -> tuple[float, float]:
    """Return the milliseconds per job, and the milliseconds of CPU of all of them and the start."""
    if variant in ("http", "grpc"):
        from otjobs.integrations.rq import RQInstrumentor

        RQInstrumentor().instrument()
    with Redis.from_url(url) as connection:
        connection.flushdb()
        queue = Queue("bench", connection=connection)
        ids = [queue.enqueue("operator.add", number, 1).id for number in range(jobs)]
        programs = Path(sys.executable).parent
        command = [str(programs / "opentelemetry-instrument")] * (variant != "plain")
        command += [str(programs / "rq"), "worker", "bench", "--url", url, "--burst", "-w", f"rq.worker.{kind}"]
        cpu = cpu_of_children()
        subprocess.run(
            command,
            env=environment(variant, addresses),
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        cpu = cpu_of_children() - cpu
        done = [job for job in Job.fetch_many(ids, connection=connection) if job is not None]
    if variant in ("http", "grpc"):
        RQInstrumentor().uninstrument()
    assert len(done) == jobs
    assert all(job.is_finished for job in done)
    began = min(job.started_at for job in done if job.started_at)
    ended = max(job.ended_at for job in done if job.ended_at)
    return (ended - began).total_seconds() * 1000 / jobs, cpu * 1000


def main() -> None:
    end_cleanly()
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--kind", default="Worker")
    given = parser.parse_args()
    if skipped("rq_jobs", "redis"):
        return
    rounds, jobs = given.rounds or (2 if given.quick else 5), given.jobs or (30 if given.quick else 100)
    found: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    used: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    with tempfile.TemporaryDirectory() as folder, parts.redis_server(Path(folder)) as url, sink() as addresses:
        for number in range(rounds):
            for variant in VARIANTS if number % 2 == 0 else VARIANTS[::-1]:
                took, cpu = one(variant, given.kind, jobs, url, addresses)
                _, start = one(variant, given.kind, 1, url, addresses)
                found[variant].append(took)
                used[variant].append((cpu - start) / (jobs - 1))
    base = found["plain"]
    rows = [
        [
            variant,
            f"{median(values):.1f}",
            f"{median(value - plain for value, plain in zip(values, base, strict=True)):.1f}",
            f"{min(values):.1f} to {max(values):.1f}",
            f"{median(used[variant]):.1f}",
            f"{median(mine - plain for mine, plain in zip(used[variant], used['plain'], strict=True)):.1f}",
        ]
        for variant, values in found.items()
    ]
    title = f"ms per RQ job, rq.worker.{given.kind} ({rounds} rounds of {jobs} jobs, load {os.getloadavg()[0]:.1f})"
    table(title, ("variant", "ms per job", "adds to plain", "rounds", "CPU ms per job", "adds to plain"), rows)
    emit(
        "rq_jobs",
        kind=given.kind,
        rounds=rounds,
        jobs=jobs,
        ms={name: median(v) for name, v in found.items()},
        cpu_ms={name: median(v) for name, v in used.items()},
    )


if __name__ == "__main__":
    main()
