"""The whole path on real parts: Celery → spans → collector → ClickHouse, against the application's own log."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import clickhouses
import parts
import pytest

from otjobs.backend.store import connect
from otjobs.backend.store.migrate import migrate

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "grafana"))

from panels import OVERVIEW, run_panel  # noqa: E402  (of the dashboards' tests)

ORDERS = 180
MILLISECOND = 1_000_000


class Stack:
    """A collector in front of the real ClickHouse, and the shop's processes."""

    def __init__(self, folder, clickhouse, collector_binary, redis_url):
        self.folder = folder
        self.clickhouse = clickhouse
        self.binary = collector_binary
        self.broker = redis_url
        self.grpc, self.http, self.health, self.metrics = (parts.free_port() for _ in range(4))
        self.collector = None
        self.processes = []

    def start_collector(self):
        env = {
            **os.environ,
            "OTJOBS_TOKEN": "secret",
            "OTJOBS_GRPC_ENDPOINT": f"127.0.0.1:{self.grpc}",
            "OTJOBS_HTTP_ENDPOINT": f"127.0.0.1:{self.http}",
            "OTJOBS_HEALTH_ENDPOINT": f"127.0.0.1:{self.health}",
            "OTJOBS_METRICS_HOST": "127.0.0.1",
            "OTJOBS_METRICS_PORT": str(self.metrics),
            "OTJOBS_QUEUE_DIRECTORY": str(self.folder / "queue"),
            "OTJOBS_CLICKHOUSE_ENDPOINT": f"tcp://127.0.0.1:{self.clickhouse.tcp_port}?dial_timeout=5s",
            "OTJOBS_CLICKHOUSE_DATABASE": "otjobs",
            "OTJOBS_CLICKHOUSE_USER": "default",
            "OTJOBS_CLICKHOUSE_PASSWORD": "",
        }
        log = (self.folder / "collector.log").open("a")
        self.collector = subprocess.Popen(
            [str(self.binary), *(f"--config={ROOT / 'collector' / name}.yaml" for name in ("gateway", "redaction"))],
            env=env,
            stdout=log,
            stderr=log,
        )
        wait_for(lambda: port_open(self.http), 20, "the collector listens")

    def environment(self, service, **more):
        return {
            **os.environ,
            "SHOP_BROKER": self.broker,
            "SHOP_LOG": str(self.folder / "shop.jsonl"),
            "SHOP_ORDERS": str(ORDERS),
            "OTEL_SERVICE_NAME": service,
            "OTEL_RESOURCE_ATTRIBUTES": "service.version=1.2.3",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.http}",
            "OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Bearer secret",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
            "OTEL_BSP_SCHEDULE_DELAY": "500",
            "PYTHONPATH": str(HERE),
            **more,
        }

    def start(self, name, *command, traced=True):
        instrument = [str(Path(sys.executable).parent / "opentelemetry-instrument")] if traced else []
        log = (self.folder / f"{name}.log").open("a")
        process = subprocess.Popen(
            [*instrument, sys.executable, *command], env=self.environment(name), cwd=self.folder, stdout=log, stderr=log
        )
        self.processes.append(process)
        return process

    def stop(self):
        for process in [*self.processes, self.collector]:
            if process is not None and process.poll() is None:
                process.terminate()
        for process in [*self.processes, self.collector]:
            if process is not None:
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()


def port_open(port):
    import socket

    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.1)
    pytest.fail(f"waited {seconds} s and still not: {what}")


def read_log(folder):
    path = folder / "shop.jsonl"
    return parts.json_lines(path)


@pytest.mark.redis
@pytest.mark.clickhouse
@pytest.mark.collector
@pytest.mark.slow
@pytest.mark.parametrize("fault", ["none", "collector killed"])
def test_the_views_equal_the_applications_log(tmp_path, clickhouse, collector_binary, redis_url, fault):
    store = connect(f"http://default:@127.0.0.1:{clickhouse.http_port}/otjobs")
    migrate(store)
    clickhouses.empty(store)
    stack = Stack(tmp_path, clickhouse, collector_binary, redis_url)
    stack.start_collector()
    try:
        # Given two prefork workers and a producer, none of which knows of tracing
        workers = [
            stack.start(
                f"worker{i}",
                "-m",
                "celery",
                "-A",
                "shop",
                "worker",
                "-c",
                "2",
                "-Q",
                "orders,payments,mails",
                "-n",
                f"w{i}@%h",
            )
            for i in range(2)
        ]
        producer = stack.start("producer", str(HERE / "shop.py"))
        if fault == "collector killed":
            wait_for(lambda: len(read_log(tmp_path)) > 300, 60, "the shop is busy")
            stack.collector.send_signal(signal.SIGKILL)
            stack.collector.wait()
            time.sleep(3)
            stack.start_collector()
        assert producer.wait(120) == 0

        def finished():
            events = read_log(tmp_path)
            last = {}
            for event in events:
                if event["what"] == "ended":
                    last[event["job"]] = event["outcome"]
            dispatched = {e["job"] for e in events if e["what"] == "dispatched"}
            return len(dispatched) == 3 * ORDERS and all(last.get(j) in ("success", "failure") for j in dispatched)

        wait_for(finished, 120, "every job of the shop has ended")
        # When the workers stop warmly
        for worker in workers:
            worker.send_signal(signal.SIGTERM)
        for worker in workers:
            worker.wait(60)
        events = read_log(tmp_path)
        jobs = {e["job"]: e for e in events if e["what"] == "dispatched"}
        wait_for(
            lambda: store.query("SELECT countIf(ended_at IS NOT NULL) FROM jobs").rows[0][0] >= len(jobs),
            30,
            "all jobs are stored as ended",
        )
        compare(store, events, jobs)
        compare_panels(store, events, jobs)
        assert len({e["pid"] for e in events}) >= 5
    finally:
        stack.stop()
        store.close()


def compare_panels(store, events, jobs):
    """What the Overview dashboard shows equals the application's log."""
    first, last = (datetime.fromtimestamp(pick(e["at"] for e in events) / 1e9, UTC) for pick in (min, max))
    rows = run_panel(store, OVERVIEW, "Jobs over time", first - timedelta(minutes=5), last + timedelta(minutes=5))
    shown = Counter()
    for row in rows:
        for name, value in row.items():
            if isinstance(value, int | float):
                shown[name] += value
    ended = Counter(e["outcome"] for e in events if e["what"] == "ended")
    true = {
        "dispatched": len(jobs),
        "started": sum(e["what"] == "started" for e in events),
        "succeeded": ended["success"],
        "failed": ended["failure"],
        "retried": ended["retry"],
    }
    assert {name: shown[name] for name in true if name in shown} == {n: v for n, v in true.items() if n in shown}
    assert len(shown) >= 3, rows[:2]


def compare(store, events, jobs):
    moments = defaultdict(dict)
    for event in events:
        moments[event["job"]][event["what"], event["attempt"]] = event
    columns = (
        "job_id, job_type, queue, state, attempts, error_type, parent_id, toUnixTimestamp64Nano(enqueued_at), "
        "toUnixTimestamp64Nano(ready_at), toUnixTimestamp64Nano(started_at), toUnixTimestamp64Nano(ended_at), queue_seconds, "
        "run_seconds, release, producer, workflow_id, dispatched"
    )
    rows = {row[0]: row for row in store.query(f"SELECT {columns} FROM jobs").rows}
    assert set(rows) == set(jobs)
    queues = {"shop.order": "orders", "shop.charge": "payments", "shop.mail": "mails"}
    differences = []
    for job, true in jobs.items():
        (
            _,
            job_type,
            queue,
            state,
            attempts,
            error_type,
            parent,
            enqueued,
            ready,
            started,
            ended,
            wait,
            run,
            release,
            producer,
            _,
            dispatched,
        ) = rows[job]
        seen = moments[job]
        last = max(a for what, a in seen if what == "ended")
        outcome = seen["ended", last]
        assert (job_type, queue, parent) == (true["type"], queues[true["type"]], true["parent"])
        assert state == {"success": "succeeded", "failure": "failed"}[outcome["outcome"]]
        assert attempts == last
        assert error_type == outcome.get("error", "")
        assert release == "1.2.3"
        assert producer == ("producer" if not true["parent"] else producer)
        assert dispatched == (2 if job_type == "shop.order" else 0)
        assert true["before"] <= enqueued <= true["at"]
        due = true["countdown"] * 1e9
        # Celery counts a countdown from the call.
        assert true["before"] + due <= ready <= true["at"] + due
        true_start, true_end = seen["started", 1]["at"], outcome["at"]
        # The span is opened before and closed after the task's own readings
        assert started <= true_start
        assert ended >= true_end
        differences += [true_start - started, ended - true_end]
        assert wait == pytest.approx(max(0, started - ready) / 1e9, abs=1e-6)
        true_run = sum(seen["ended", n]["at"] - seen["started", n]["at"] for n in range(1, last + 1)) / 1e9
        differences.append(abs(run - true_run) * 1e9)
    # Beyond the order of the readings: some milliseconds for most of them, and a moment for those between whose two
    # readings the machine took the processor away (two cores run a dozen processes here).
    differences.sort()
    assert statistics.median(differences) < 50 * MILLISECOND
    assert differences[-1] < parts.BUSY_NS, differences[-20:]
    # Attempts, one by one
    attempts = {
        (r[0], r[1]): r[2:]
        for r in store.query("SELECT job_id, attempt, outcome, error_type, queue_seconds FROM attempts").rows
    }
    true_attempts = {
        (e["job"], e["attempt"]): (e["outcome"], e.get("error", "")) for e in events if e["what"] == "ended"
    }
    assert {key: value[:2] for key, value in attempts.items()} == true_attempts
    # A retry's backoff of 0.3 s is no queueing time
    retried = [value[2] for (_, attempt), value in attempts.items() if attempt == 2]
    assert retried
    assert all(value is not None for value in retried)
    # Workflows: each order is one, complete, of three jobs
    workflows = store.query("SELECT workflow_type, complete, jobs, open_jobs, trigger FROM workflows").rows
    assert len(workflows) == ORDERS
    assert set(workflows) == {("shop.order", 1, 3, 0, "manual")}
