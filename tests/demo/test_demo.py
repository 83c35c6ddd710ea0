"""`otjobs demo` from start to end, interrupted, and with a process that dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import parts
import psutil
import pytest

OTJOBS = [sys.executable, "-c", "import sys; from otjobs.backend.cli import main; sys.exit(main())"]
LOST, REFUSED, DEAD = "WorkerLostError", "CardRefused", "GatewayTimeout"


@pytest.fixture
def demo(tmp_path):
    """Starts `otjobs demo` with its temporary folder below tmp_path, and checks that it leaves nothing behind."""
    parts.require("chdb")
    started = []

    def start(*options):
        # Settings of the caller's own tracing must not send the demo's spans elsewhere.
        misleading = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"}
        process = subprocess.Popen(
            [*OTJOBS, "demo", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **misleading, "TMPDIR": str(tmp_path)},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
    assert _left(tmp_path) == []
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith("otjobs-demo-")] == []


def _left(folder):
    """Command lines of processes that name the demo's folder or run in it."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        try:
            if process.pid != os.getpid() and str(folder) in " ".join(
                [*process.cmdline(), process.environ().get("TMPDIR", "")]
            ):
                found.append(process.cmdline())
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


def children(process, needle):
    return [
        child for child in psutil.Process(process.pid).children(recursive=True) if needle in " ".join(child.cmdline())
    ]


def test_everything_of_the_story_is_seen_and_its_figures_fit_together(demo):
    begun = time.monotonic()
    process = demo("--seconds", "8", "--json")
    out, err = process.communicate(timeout=150)
    assert (process.returncode, err) == (0, "")
    report = json.loads(out)
    total = report["total"]

    # Whatever was dispatched has ended, one way or the other
    assert total["jobs"] == total["succeeded"] + total["failed"]
    assert (total["open_jobs"], total["cancelled"]) == (0, 0)
    assert total["jobs"] > 80
    queues = {row["queue"]: row for row in report["queues"]}
    assert set(queues) == {"orders", "payments", "warehouse", "mails", "invoices"}
    for key, whole in (("jobs", "jobs"), ("failed", "failed"), ("starts", "attempts")):
        assert sum(row[key] for row in queues.values()) == total[whole], key
    types = {row["job_type"]: row for row in report["types"]}
    assert sum(row["attempts"] for row in types.values()) == total["attempts"]
    assert sum(row["failed"] for row in types.values()) == total["failed"]

    # Each order has become what the shop makes of it
    orders = queues["orders"]["jobs"]
    assert orders >= 9
    counts = {name: row["attempts"] for name, row in types.items() if name.startswith("shop.")}
    expected = {"shop.pick": 3 * orders, "shop.pack": orders, "shop.thank": orders, "shop.invoice": (orders + 1) // 2}
    assert {name: counts[name] for name in expected} == expected
    dead = sum(number % 9 == 4 for number in range(orders))
    busy = sum(number % 5 == 0 and number % 9 != 4 for number in range(orders))
    refused = sum(number % 7 == 3 and number % 9 != 4 for number in range(orders))
    assert types["shop.charge"]["retried"] == busy + 2 * dead
    assert types["shop.charge"]["failed"] == refused + dead

    # Failures, dead letters, the lost job
    failures = {(row["job_type"], row["state"], row["error_type"]): row for row in report["failures"]}
    assert {key: row["jobs"] for key, row in failures.items()} == {
        ("shop.charge", "failed", REFUSED): refused,
        ("shop.charge", "failed", DEAD): dead,
        ("shop.import_catalog", "lost", LOST): 1,
    }
    assert {key[2]: row["dead_letters"] for key, row in failures.items()} == {REFUSED: 0, DEAD: dead, LOST: 0}
    assert {(row["error_type"], row["attempts"]) for row in report["dead_letters"]} == {(DEAD, 3)}
    assert total["dead_letters"] == dead

    # The schedule, the delays, the slow queue
    assert total["scheduled"] == types["shop.restock"]["attempts"] >= 2
    assert total["delayed"] >= orders
    assert queues["mails"]["queue_p50_seconds"] < 0.9  # the second it was asked to wait is no wait
    assert queues["invoices"]["queue_p95_seconds"] > 0.3
    assert 0.4 <= types["shop.invoice"]["run_p50_seconds"] < 2

    # The slowest workflow is complete, and its tree adds up
    slowest = report["slowest_workflow"]
    assert slowest["workflow"]["complete"]
    assert slowest["workflow"]["jobs"] == len(slowest["jobs"]) >= 7
    assert (slowest["workflow"]["trigger"], slowest["workflow"]["trigger_name"]) == ("request", "/orders")
    assert [job["job_type"] for job in slowest["jobs"] if not job["parent_id"]] == ["shop.order"]
    assert slowest["workflow"]["wall_seconds"] > 2
    assert time.monotonic() - begun < 120


@pytest.mark.parametrize("options", [(), ("--keep",)])
def test_ctrl_c_ends_everything(demo, options):
    process = demo("--seconds", "3", *options)
    lines = []
    until = "goes on until Ctrl-C" if options else "orders come in"
    while until not in (line := process.stdout.readline()):
        assert line, (lines, process.stderr.read())
        lines.append(line)
    if options:
        url = next(line for line in lines if "OTJOBS_URL=" in line).partition("=")[2].strip()
        asked = subprocess.run([*OTJOBS, "jobs", "--json", "--url", url], capture_output=True, timeout=60, check=True)
        assert {row["system"] for row in json.loads(asked.stdout)} == {"celery"}
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (
        0 if options else 130,
        "otjobs: stopped; everything that the demo started has ended\n",
    )
    if options:
        text = "".join(lines)
        for part in ("Queues", "Job types", "What to type next", "export OTJOBS_URL=http://127.0.0.1:"):
            assert part in text


def test_a_process_that_dies_is_told_with_the_end_of_its_log(demo):
    process = demo("--seconds", "20")
    while "orders come in" not in (line := process.stdout.readline()):
        assert line, process.stderr.read()
    beat = parts.wait_until(lambda: children(process, "otjobs.backend.demo.shop beat"), what="beat")
    # it has begun to write its log by the time it listens to signals
    parts.wait_until(lambda: beat[0].status() == psutil.STATUS_SLEEPING, what="beat sleeps")
    for one in beat:
        one.kill()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err.startswith("otjobs: the demo's process shop-beat was killed by signal 9; the end of its log:\n")


@pytest.mark.redis
def test_the_demo_on_redis_leaves_nothing_in_it(demo, redis_url):
    import redis

    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
        client.set("orders", "somebody else's")
        process = demo("--seconds", "3", "--json", "--broker", redis_url)
        out, err = process.communicate(timeout=120)
        assert (process.returncode, err) == (0, "")
        assert client.keys() == [b"orders"]
        client.delete("orders")
    report = json.loads(out)
    assert report["total"]["jobs"] > 20
    assert "celery.chord_unlock" not in {row["job_type"] for row in report["types"]}  # Redis counts chords itself


def test_a_broker_that_the_demo_does_not_know(demo):
    process = demo("--broker", "amqp://localhost")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert err == "otjobs: 'amqp://localhost' is no broker of the demo; it takes redis://host:port/db\n"
