"""`otjobs up`, `migrate` and `doctor` as processes."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from importlib.metadata import version

import parts
import pytest
from running import OTJOBS, invoke, run

from otjobs.backend.store import connect
from otjobs.backend.store.migrate import migrations

FREE = ("--grpc-port", "0", "--http-port", "0", "--sql-port", "0")
NEWEST = migrations()[-1][0]


class Up:
    """A running `otjobs up`."""

    def __init__(self, folder, *options):
        self.process = subprocess.Popen(
            [*OTJOBS, "up", "--data", str(folder), *FREE, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def said(self, until):
        lines = []
        while not lines or until not in lines[-1]:
            line = self.process.stdout.readline()
            assert line, (lines, self.process.stderr.read())
            lines.append(line)
        return "".join(lines)

    def end(self, number):
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out, err


@pytest.fixture
def up(tmp_path):
    parts.require("chdb")
    started = []

    def one(*options, folder=tmp_path / "data"):
        started.append(Up(folder, *options))
        return started[-1]

    yield one
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
        each.process.communicate()


def test_up_says_how_to_use_it_and_stops_on_ctrl_c(up, tmp_path):
    running = up()
    text = running.said("Ctrl-C stops it.")
    endpoint = re.search(r"export OTEL_EXPORTER_OTLP_ENDPOINT=(http://127\.0\.0\.1:\d+)\n", text)[1]
    url = re.search(r"export OTJOBS_URL=(http://127\.0\.0\.1:\d+/otjobs)\n", text)[1]
    assert "export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf\n" in text
    assert "opentelemetry-instrument celery -A app worker" in text
    assert "opentelemetry-instrument rq worker" in text
    assert "not for production" in text
    assert str(tmp_path / "data") in text

    done = invoke("queues", url=url)
    assert (done.status, done.out, done.err) == (0, "", "no jobs in that time\n")
    checks = {row["check"]: row for row in json.loads(invoke("doctor", "--json", url=url).out)}
    assert {name: row["verdict"] for name, row in checks.items()} == {
        "database": "ok",
        "schema": "ok",
        "inserts": "ok",
        "spans": "none yet",
        "sdk": "ok",
        "endpoint": "not set",
    }
    assert "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf" in checks["endpoint"]["next"]
    pointed = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}
    assert json.loads(run("doctor", "--json", url=url, env=pointed).out)[-1]["verdict"] == "ok"

    second = run("up", "--data", str(tmp_path / "data"), *FREE)
    assert second.status == 1
    (said,) = second.err.splitlines()
    assert said.startswith("otjobs: the data folder")
    assert f"is in use by process {running.process.pid};" in said
    (said,) = run("queues", url=f"chdb://{tmp_path / 'data'}").err.splitlines()
    assert f"process {running.process.pid} has it open; if that is `otjobs up`, ask its SQL port instead" in said

    assert running.end(signal.SIGINT) == (0, "otjobs is down.\n", "")
    # The folder is given back, and a chdb:// address reads it
    assert run("migrate", url=f"chdb://{tmp_path / 'data'}").out.endswith(f"was already at schema version {NEWEST}\n")


def test_sigterm_ends_it_well(up):
    running = up()
    running.said("Ctrl-C stops it.")
    assert running.end(signal.SIGTERM) == (0, "otjobs is down.\n", "")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_before_the_server_listens_to_them_ends_it_well_too(tmp_path, name):
    script = f"""
import os, signal, sys, time
from otjobs.backend.cli import main, up
def run(*_, **__):
    os.kill(os.getpid(), signal.{name})
    time.sleep(5)
    raise SystemExit("not interrupted")
up.run = run
sys.argv[1:] = ["up", "--data", {str(tmp_path)!r}]
main()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "otjobs is down.\n", "")


@pytest.mark.parametrize("name", ["grpc", "http", "sql"])
def test_a_taken_port_is_named_with_its_option(tmp_path, name):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        options = [f"--{name}-port", str(port)]
        done = run("up", "--data", str(tmp_path / "data"), *FREE, *options)
    assert (done.status, done.out) == (1, "")
    assert f"port {port} on 127.0.0.1 is in use" in done.err
    assert f"--{name}-port" in done.err


def test_other_machines_are_kept_out_unless_asked_for(up, tmp_path):
    done = run("up", "--data", str(tmp_path / "data"), "--host", "0.0.0.0", *FREE)
    assert (done.status, done.out) == (1, "")
    assert "--allow-remote" in done.err
    running = up("--host", "0.0.0.0", "--allow-remote")
    assert "http://0.0.0.0:" in running.said("Ctrl-C stops it.")
    assert running.end(signal.SIGTERM)[0] == 0


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    done = run("up", "--data", str(tmp_path / "file" / "data"), *FREE)
    assert done.status == 1
    assert str(tmp_path / "file" / "data") in done.err
    assert done.err.count("\n") == 1


@pytest.mark.clickhouse
def test_migrate_says_what_it_did_and_refuses_what_is_newer(clickhouse):
    url = clickhouse.database_url("otjobs_cli_migrate")
    before = invoke("queues", url=url)
    assert before.status == 1
    assert before.err.endswith("has no tables of otjobs yet; make them with: otjobs migrate\n")
    assert json.loads(invoke("doctor", "--json", url=url).out)[1]["next"] == "otjobs migrate"

    first = run("migrate", url=url)
    applied = "".join(f"applied {version:03d} {name}\n" for version, name, _ in migrations())
    assert first.out.startswith(applied)
    assert first.out.endswith(f"is now at schema version {NEWEST}\n")
    assert run("migrate", url=url).out.endswith(f"was already at schema version {NEWEST}\n")
    found = json.loads(invoke("migrate", "--json", url=url).out)
    assert found == {
        "database": "otjobs_cli_migrate",
        "applied": [],
        "version": NEWEST,
        "keep_days": dict.fromkeys(("spans", "jobs", "workflows", "minutes"), 0),
    }

    store = connect(url)
    store.command("INSERT INTO otjobs_migrations (version, name) VALUES (999, 'future')")
    store.close()
    done = run("migrate", url=url)
    assert (done.status, done.out) == (1, "")
    assert "schema version 999" in done.err
    assert "pip install --upgrade otjobs" in done.err
    checks = invoke("doctor", url=url)
    assert checks.status == 1
    assert "version 999" in checks.out


def test_migrate_makes_a_chdb_folder(tmp_path):
    parts.require("chdb")
    url = f"chdb://{tmp_path / 'new'}"
    assert run("migrate", url=url).out.count("applied ") == len(migrations())
    assert invoke("queues", url=url).err == "no jobs in that time\n"


@pytest.mark.parametrize(
    ("fast", "verdict", "found"),
    [("auto", "ok", "fast path"), ("off", "check", "plain path: OTEL_PYTHON_OTJOBS_FAST is off")],
)
def test_doctor_tells_which_way_job_spans_are_made(fast, verdict, found):
    done = run("doctor", "--json", url="http://127.0.0.1:9/x", env={"OTEL_PYTHON_OTJOBS_FAST": fast})
    [sdk] = [row for row in json.loads(done.out) if row["check"] == "sdk"]
    assert (sdk["verdict"], sdk["found"]) == (verdict, f"OpenTelemetry SDK {version('opentelemetry-sdk')}: {found}")


def test_doctor_names_what_is_broken(embedded_url):
    nobody = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    done = run("doctor", "--json", url="http://127.0.0.1:9/x", env=nobody)
    assert done.status == 1
    assert [(row["check"], row["verdict"]) for row in json.loads(done.out)] == [
        ("database", "broken"),
        ("sdk", "ok"),
        ("endpoint", "broken"),
    ]
    at = {"OTEL_EXPORTER_OTLP_ENDPOINT": _listening(embedded_url)}
    old = json.loads(run("doctor", "--json", url=embedded_url, env=at).out)
    assert {row["check"]: row["verdict"] for row in old}["spans"] == "stale"
    assert {row["check"]: row["verdict"] for row in old}["endpoint"] == "check"  # no protocol: gRPC


def _listening(url):
    return url.removesuffix("/otjobs")
