"""Real libraries whose two halves of a job do not name each other plainly: every message is one job, and it ends."""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path

import parts
import pytest

from otjobs.backend.server import Server
from otjobs.backend.store import connect

APPS = Path(__file__).resolve().parent / "apps"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("embedded") / "data") as found:
        yield found


def run(command, log, server, env):
    """Run the application to its end."""
    environment = {**os.environ, "APP_OTLP": f"{server.endpoints.otlp_http}/v1/traces", **env}
    process = parts.Process(command, log=log, env=environment, cwd=APPS)
    try:
        parts.wait_until(lambda: not process.running(), seconds=120, what="the application")
    finally:
        process.kill()
    assert process.popen.returncode == 0, process.output()


def jobs(server, where):
    store = connect(server.endpoints.url)
    try:
        return store.query(f"SELECT * FROM jobs WHERE {where} ORDER BY started_at").dicts()
    finally:
        store.close()


@pytest.mark.rabbitmq
@pytest.mark.parametrize(("client", "queue"), [("pika", "pk"), ("aio_pika", "aio"), ("faststream", "fsq")])
def test_each_message_is_one_job_that_ends(client, queue, server, rabbitmq_url, tmp_path):
    parts.require("rabbitmq-clients")
    path = os.pathsep.join([str(APPS), str(parts.tool("rabbitmq_clients").folder())])
    run(
        [sys.executable, "rabbit_app.py", client],
        tmp_path / "app.log",
        server,
        {"APP_RABBITMQ": rabbitmq_url, "PYTHONPATH": path},
    )
    found = jobs(server, f"service = '{client}-app' OR producer = '{client}-app'")
    assert [(row["queue"], row["state"], row["attempts"]) for row in found] == [(queue, "succeeded", 1)] * 2
    assert "m1" in {row["job_id"] for row in found}
    assert all(row["queue_seconds"] is not None and row["run_seconds"] >= 0.2 for row in found)


@pytest.mark.redis
def test_each_tick_of_a_bullmq_scheduler_is_one_job(server, redis_url, tmp_path):
    parts.require("bullmq")
    run(
        ["node", "bull_scheduler.cjs"],
        tmp_path / "app.log",
        server,
        {"APP_REDIS": redis_url, "NODE_PATH": str(parts.tool("bullmq").modules())},
    )
    found = jobs(server, "system = 'bullmq'")
    assert Counter((row["job_type"], row["state"], row["attempts"]) for row in found) == {
        ("tick", "succeeded", 1): 4,
        ("patient", "succeeded", 1): 1,
    }
