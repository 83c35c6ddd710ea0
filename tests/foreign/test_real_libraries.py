"""The libraries themselves, over a real Redis: every job and attempt in the views is what the application logged."""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from pathlib import Path

import parts
import pytest

from otjobs.backend.server import Server
from otjobs.backend.store import connect

APPS = Path(__file__).resolve().parent / "apps"
NEAR = 0.4
"""Seconds: a span begins a little before the job's code and ends a little after it, more so on a busy machine."""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("embedded") / "data") as found:
        yield found


def run(tmp_path, redis_url, server, work, publish, *, env=None):
    """Publish, let a worker run everything, and return the jobs of the log by id."""
    log = tmp_path / "happened.jsonl"
    environment = {
        **os.environ,
        "APP_LOG": str(log),
        "APP_REDIS": redis_url,
        "APP_OTLP": f"{server.endpoints.otlp_http}/v1/traces",
        "PYTHONPATH": os.pathsep.join([str(APPS), os.environ.get("PYTHONPATH", "")]),
        "OTEL_EXPORTER_OTLP_TIMEOUT": "90",  # seconds
        **(env or {}),
    }

    def happened():
        lines = parts.json_lines(log)
        jobs = defaultdict(lambda: {"attempts": {}})
        for line in lines:
            job = jobs[line["job"]]
            if line["what"] == "published":
                job.update(line)
            else:
                job["attempts"].setdefault(line["attempt"], {})[line["what"]] = line["at"]
                if "outcome" in line:
                    job["attempts"][line["attempt"]]["outcome"] = line["outcome"]
        return jobs

    def all_over():
        jobs = happened()
        done = [
            job
            for job in jobs.values()
            if job["attempts"] and job["attempts"][max(job["attempts"])].get("outcome", "retry") != "retry"
        ]
        return "what" in next(iter(jobs.values()), {}) and len(done) == len(jobs)

    sender = parts.Process(publish, log=tmp_path / "publish.log", env=environment, cwd=APPS)
    parts.wait_until(lambda: not sender.running(), seconds=90, what="the publications")
    assert sender.popen.returncode == 0, sender.output()
    worker = parts.Process(work, log=tmp_path / "work.log", env=environment, cwd=APPS)
    try:
        worker.wait_ready(all_over, seconds=120, what="the worker")
    finally:
        worker.stop(30)
    return happened()


def views(server, system):
    store = connect(server.endpoints.url)
    try:
        jobs = store.query("SELECT * FROM jobs WHERE system = {system:String}", {"system": system}).dicts()
        attempts = store.query("SELECT * FROM attempts WHERE system = {system:String}", {"system": system}).dicts()
        workflows = {row["workflow_id"]: row for row in store.query("SELECT * FROM workflows").dicts()}
    finally:
        store.close()
    return jobs, attempts, workflows


def seconds(later, earlier_ns):
    return later.timestamp() - earlier_ns / 1e9


def compare(happened, jobs, attempts, workflows, *, key, queueing):
    """Job by job and attempt by attempt; `queueing(job, number)` says from when on an attempt waited, None for unknown."""
    assert sorted(key(row) for row in jobs) == sorted(happened)
    assert sorted((key(row), row["attempt"]) for row in attempts) == sorted(
        (job, number) for job, told in happened.items() for number in told["attempts"]
    )
    ids = {key(row): row["job_id"] for row in jobs}
    for row in jobs:
        told = happened[key(row)]
        last = told["attempts"][max(told["attempts"])]
        assert row["job_type"] == told["type"]
        assert row["queue"] == told["queue"]
        assert row["attempts"] == len(told["attempts"])
        assert row["state"] == {"success": "succeeded", "failure": "failed"}[last["outcome"]]
        assert row["parent_id"] == (ids[told["parent"]] if told["parent"] else "")
        assert abs(seconds(row["enqueued_at"], told["at"])) < NEAR
        assert row["producer"].endswith("-work" if told["parent"] else "-publish")
        assert row["service"].endswith("-work")
        assert row["release"] == "7"
        assert workflows[row["workflow_id"]]["complete"] == 1
    for row in attempts:
        told, number = happened[key(row)], row["attempt"]
        mine = told["attempts"][number]
        assert row["outcome"] == mine["outcome"]
        assert -0.01 < -seconds(row["started_at"], mine["started"]) < NEAR
        assert -0.01 < seconds(row["ended_at"], mine["ended"]) < NEAR
        assert row["host"] == "here"
        ready = queueing(told, number)
        if ready is None:
            assert (row["ready_at"], row["queue_seconds"]) == (None, None)
        else:
            assert abs(row["queue_seconds"] - max((mine["started"] - ready) / 1e9, 0)) < NEAR
    assert sum(row["jobs"] for id_, row in workflows.items() if id_ in {row["workflow_id"] for row in jobs}) == len(
        jobs
    )


def test_stock_celery(tmp_path, redis_url, server):
    program = [sys.executable, APPS / "celery_app.py"]
    happened = run(tmp_path, redis_url, server, [*program, "work"], [*program, "publish"])
    assert len(happened) == 42

    def queueing(job, number):
        if number == 1:
            return job["at"] + job["delay"] * 1_000_000_000
        return job["attempts"][number - 1]["ended"] + 500_000_000

    jobs, attempts, workflows = views(server, "celery")
    compare(happened, jobs, attempts, workflows, key=lambda row: row["job_id"], queueing=queueing)
    assert {row["error_type"] for row in attempts if row["outcome"] in ("retry", "failure")} == {"ValueError"}
    assert all(abs(row["delay_seconds"] - happened[row["job_id"]]["delay"]) < NEAR for row in jobs)


def test_taskiq(tmp_path, redis_url, server):
    command = [Path(sys.executable).parent / "taskiq", "worker", "--workers", "1", "taskiq_app:broker"]
    happened = run(tmp_path, redis_url, server, command, [sys.executable, APPS / "taskiq_app.py"])
    assert len(happened) == 39

    def queueing(job, number):
        return job["at"] if number == 1 else job["attempts"][number - 1]["ended"]

    jobs, attempts, workflows = views(server, "taskiq")
    compare(happened, jobs, attempts, workflows, key=lambda row: row["job_id"], queueing=queueing)


def test_bullmq(tmp_path, redis_url, server):
    parts.require("bullmq")
    program = [parts.program("node"), APPS / "bull_app.cjs"]
    modules = {"NODE_PATH": str(parts.tool("bullmq").modules()), "OTEL_EXPORTER_OTLP_TIMEOUT": "90000"}
    happened = run(tmp_path, redis_url, server, [*program, "work"], [*program, "publish"], env=modules)
    assert len(happened) == 40

    def queueing(job, number):
        # A delay can be asked for when a job is added, and none of its spans would tell.
        return job["attempts"][number - 1]["ended"] if number > 1 and job["type"] == "shaky" else None

    jobs, attempts, workflows = views(server, "bullmq")
    compare(happened, jobs, attempts, workflows, key=lambda row: f"{row['queue']}/{row['job_id']}", queueing=queueing)
    assert {row["worker"] for row in attempts} == {"worker-emails", "worker-reports"}
