"""RQ's real processes: work horses that die or are stopped, workers that are killed, gRPC, a collector that is away."""

from __future__ import annotations

import importlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import parts
import pytest
import rq_jobs as jobs
from away import HTTP, away, grpc_port
from rq import Callback, Repeat, Retry
from rq.command import send_stop_job_command
from rq.job import Job

pytestmark = pytest.mark.redis


def ends(story):
    """How every attempt ended, in the order of the starts."""
    return [
        (s["otjobs.job.attempt"], s["otjobs.job.outcome"], s.get("error.type", ""), s.get("otjobs.job.observed", False))
        for s in story.executions
    ]


def started(job):
    return parts.wait_until(lambda: job.get_status() == "started", what="the job to start")


@pytest.mark.parametrize("kind", ["Worker", "SpawnWorker", "SimpleWorker"])
def test_a_worker_of_every_kind_sends_every_span(process, queue, story, kind):
    process("worker", "main", "-w", f"rq.worker.{kind}", name=kind)
    queue.enqueue(jobs.add, 1)
    queue.enqueue(jobs.fail, retry=Retry(1))
    queue.enqueue(jobs.send)
    story.wait(executed=5, seconds=60)
    assert sorted(ends(story)) == [
        (1, "retry", "Broken", False),
        (1, "success", "", False),
        (1, "success", "", False),
        (1, "success", "", False),
        (2, "failure", "Broken", False),
    ]


def test_horses_that_die_are_lost_or_retried(process, queue, story):
    process("worker", "main")
    queue.enqueue(jobs.die)
    queue.enqueue(jobs.die, retry=Retry(1))
    story.wait(executed=3, dispatched=0)
    assert ends(story) == [
        (1, "lost", "WorkHorseKilled", True),
        (1, "retry", "WorkHorseKilled", True),
        (2, "lost", "WorkHorseKilled", True),
    ]
    assert "otjobs.job.dispatched" not in story.executions[0].attributes


def test_the_main_process_imports_nothing_of_a_job_that_dies(process, queue, story, tmp_path, monkeypatch):
    """The job is of a producer without tracing, so that its type is in no carrier; its argument is of its own module."""
    source = "import os\nprint('imported by', os.getpid(), flush=True)\nfrom rq_jobs import die\nclass Order: pass"
    (tmp_path / "told.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    worker = process("worker", "main", PYTHONPATH=os.pathsep.join([str(tmp_path), *sys.path]))
    queue.enqueue("told.die", importlib.import_module("told").Order())
    [span] = story.wait(executed=1).executions
    assert (span["otjobs.job.type"], span["otjobs.job.outcome"]) == ("unknown", "lost")
    importers = [line.split()[-1] for line in worker.output(100_000).splitlines() if line.startswith("imported by")]
    assert len(importers) == 1
    assert str(worker.pid) not in importers


def test_a_job_that_ends_its_horse_while_it_is_unpickled_runs_as_often_as_without_tracing(process, queue, story):
    """RQ retries it: the worker counts it as started by then."""
    process("worker", "main")
    queue.enqueue(jobs.add, jobs.OnceDeadly(), job_id="one", retry=Retry(1))
    story.wait(executed=2)
    assert ends(story) == [(1, "retry", "WorkHorseKilled", True), (2, "success", "", False)]
    assert [s["otjobs.job.type"] for s in story.executions] == ["unknown", "rq_jobs.add"]


def test_the_spans_of_a_horse_leave_behind_all_that_the_application_put_around_its_job(process, queue, story, tmp_path):
    """Sentry traces the requests that are sent inside of its transaction; another wrapper raises."""
    log = tmp_path / "sentry.jsonl"
    process("worker", "main", "-w", "rq_sentry.Worker", SENTRY_LOG=str(log))
    queue.enqueue(jobs.add, 1)
    queue.enqueue(jobs.add, 2)
    story.wait(executed=2)
    lines = parts.wait_until(lambda: log.exists() and log.read_text().splitlines()[1:] and log, what="the transactions")
    found = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [name for name, _ in found] == ["rq_jobs.add"] * 2
    assert "http.client" not in str(found)


def test_a_job_that_is_stopped_is_cancelled_and_its_callback_dispatches_a_child(process, queue, story):
    process("worker", "main")
    job = queue.enqueue(jobs.nap, 60, on_stopped=Callback(jobs.callback), retry=Retry(3))
    started(job)
    send_stop_job_command(queue.connection, job.id)
    story.wait(executed=2)
    assert ends(story) == [(1, "cancelled", "Stopped", True), (1, "success", "", False)]
    [child] = story.dispatches
    assert (child["otjobs.job.parent.id"], child.parent) == (job.id, story.executions[0].id)


def test_a_worker_that_is_killed_with_its_horse_is_noticed_by_the_next_one(process, queue, story):
    worker = process("worker", "main", name="first")
    job = queue.enqueue(jobs.nap, 60, retry=Retry(1))
    started(job)
    horse = parts.wait_until(lambda: job.get_executions(), what="the execution")[0]
    for pid in parts.children(worker.pid):
        os.kill(pid, signal.SIGKILL)
    worker.kill()
    killed_at = time.time_ns()
    queue.connection.zadd(queue.started_job_registry.key, {horse.composite_key: 1})  # its heartbeats stopped long ago
    process("worker", "main", name="second")
    [span] = story.wait(executed=1).executions
    assert ends(story) == [(1, "retry", "AbandonedJobError", True)]
    assert span.start <= span.end <= killed_at


def test_a_pool_of_workers_and_its_schedulers(process, queue, story):
    process("worker-pool", "main", "-n", "2", until="Listening on")
    queue.enqueue_in(timedelta(seconds=1), jobs.add, 1, repeat=Repeat(1, interval=1))
    for _ in range(4):
        queue.enqueue(jobs.add, 1)
    story.wait(executed=6, seconds=30)
    assert [one[1] for one in ends(story)] == ["success"] * 6
    assert [s["otjobs.trigger"] for s in story.dispatches] == ["schedule"]


def test_a_forked_process_that_forks_again_never_connects_over_grpc(story, receiver):
    """A process that has used gRPC must not fork; whether its children hang is a matter of luck."""
    with grpc_port(receiver.take) as url:
        command = [sys.executable, str(Path(__file__).with_name("forks_of_forks.py"))]
        environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": url}
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=60)
        parts.wait_until(lambda: story.spans, what="the span")
    assert [span.name for span in story.spans] == ["of the worker"]
    assert done.stdout == "not connected\n"


def test_grpc_in_processes_that_fork_forked_and_fork_again(process, queue, story, receiver):
    """The distribution's default protocol, in a pool whose workers fork horses while they export themselves."""
    with grpc_port(receiver.take) as url:
        environment = {
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            "OTEL_EXPORTER_OTLP_ENDPOINT": url,
            "OTEL_METRICS_EXPORTER": "otlp",
            "OTEL_METRIC_EXPORT_INTERVAL": "300",
        }
        process("worker-pool", "main", "-n", "2", **environment)
        for _ in range(10):
            queue.enqueue(jobs.add, 1)
            queue.enqueue(jobs.die)
        story.wait(executed=20, seconds=90)
    assert sorted(one[1] for one in ends(story)) == ["lost"] * 10 + ["success"] * 10


def test_a_collector_that_hangs_costs_the_first_job_the_bound_and_the_next_ones_a_moment(process, queue, receiver):
    with away("hangs", HTTP, receiver) as url:
        worker = process("worker", "main", OTEL_EXPORTER_OTLP_ENDPOINT=url, OTEL_PYTHON_OTJOBS_FLUSH_SECONDS="3")
        jobs_ = [queue.enqueue(jobs.add, n) for n in range(5)]
        parts.wait_until(lambda: all(job.get_status() == "finished" for job in jobs_), what="the jobs", seconds=60)
        parts.wait_until(lambda: worker.output(100_000).count("of its spans are lost") == 5, what="the warnings")
    began = [Job.fetch(job.id, connection=queue.connection).started_at for job in jobs_]
    waits = [(later - earlier).total_seconds() for earlier, later in itertools.pairwise(began)]
    assert waits[0] >= 3
    assert sum(waits[1:]) < sum(waits[:1]) + 3 * 0.5 + 5  # the machine's own time included
