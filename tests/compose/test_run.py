"""What docker-compose.yml starts, started as processes with its own commands and environment: jobs reach the dashboard.

The containers' addresses become ports of this machine; nothing else is changed. Grafana is the one service left out: its
panels' SQL is run as its account instead.
"""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import parts
import pytest
from compose_project import ROOT, clickhouse_with_accounts, url
from panels import OVERVIEW, run_panel

from otjobs.backend.store import connect

BIN = Path(sys.executable).parent


class Machine:
    """Starts services of the project on this machine."""

    def __init__(self, services, folder, addresses):
        self.services = services
        self.folder = folder
        self.addresses = addresses
        self.processes = []

    def environment(self, name):
        found = {"PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(self.folder)}
        for key, value in self.services[name]["environment"].items():
            for there, here in self.addresses.items():
                value = value.replace(there, here)
            found[key] = value
        return found

    def run(self, name, command, **more):
        process = parts.Process(
            command,
            log=self.folder / f"{name}.log",
            env={**self.environment(name), **more},
            cwd=ROOT / "examples" / "compose_app",
        )
        self.processes.append(process)
        return process

    def stop(self):
        for process in reversed(self.processes):
            process.stop(20)


@pytest.fixture
def machine(services, tmp_path, collector_binary, redis_url):
    with clickhouse_with_accounts(tmp_path / "clickhouse") as server:
        grpc, http, health = (parts.free_port() for _ in range(3))
        addresses = {
            "clickhouse:8123": f"127.0.0.1:{server.http_port}",
            "clickhouse:9000": f"127.0.0.1:{server.tcp_port}",
            "collector:4318": f"127.0.0.1:{http}",
            "redis://redis:6379/0": redis_url,
            "0.0.0.0:4317": f"127.0.0.1:{grpc}",
            "0.0.0.0:4318": f"127.0.0.1:{http}",
            "0.0.0.0:13133": f"127.0.0.1:{health}",
            "/var/lib/otjobs": str(tmp_path / "volume"),
        }
        found = Machine(services, tmp_path, addresses)
        found.server = server
        found.health = f"http://127.0.0.1:{health}/"
        found.binary = collector_binary
        try:
            yield found
        finally:
            found.stop()


@pytest.mark.go
@pytest.mark.redis
@pytest.mark.clickhouse
@pytest.mark.collector
@pytest.mark.slow
def test_jobs_of_the_example_reach_the_dashboard(machine, services):
    # Given tables made by `migrate`, twice, as at every `docker compose up`
    for _ in range(2):
        command = [str(BIN / services["migrate"]["command"][0]), *services["migrate"]["command"][1:]]
        done = subprocess.run(
            command, env=machine.environment("migrate"), capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
    # And the collector, the worker and the producer
    collector = machine.run(
        "collector",
        [
            machine.binary,
            "--config",
            ROOT / "collector" / "gateway.yaml",
            "--config",
            ROOT / "collector" / "redaction.yaml",
        ],
        OTJOBS_METRICS_PORT=str(parts.free_port()),
    )
    collector.wait_ready(lambda: parts.http_ok(machine.health), seconds=90, what="the collector")
    for name in ("worker", "producer"):
        machine.run(name, services[name]["command"], OTEL_BSP_SCHEDULE_DELAY="500")
    # When it has run for a while
    reader = connect(url(machine.server, "reader"))
    started = datetime.now(UTC) - timedelta(minutes=1)

    def over_time():
        rows = run_panel(reader, OVERVIEW, "Jobs over time", started, datetime.now(UTC) + timedelta(seconds=1))
        return {name: sum(row[name] for row in rows) for name in rows[0] if name != "time"} if rows else {}

    parts.wait_until(lambda: over_time().get("succeeded", 0) >= 30, seconds=60, what="thirty jobs on the dashboard")
    # Then all of them are jobs of the example, complete in what they say
    found = over_time()
    assert found["dispatched"] >= found["succeeded"] + found["failed"]
    assert found["started"] >= found["succeeded"]
    rows = reader.query("SELECT DISTINCT queue, job_type, producer FROM jobs WHERE state = 'succeeded'").rows
    assert {
        ("orders", "shop.order", "shop-web"),
        ("payments", "shop.charge", "shop-worker"),
        ("mails", "shop.mail", "shop-worker"),
    } <= set(rows)
    slowest = run_panel(reader, OVERVIEW, "Slowest jobs", started, datetime.now(UTC))
    assert slowest[0]["run_seconds"] > 0
    assert len(slowest[0]["trace"]) == 32
    reader.close()
