"""The real parts of the tests: where they are, how they are started, and what a test without one does."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
_spec = importlib.util.spec_from_file_location("otjobs_services", ROOT / "tools" / "services.py")
services = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(services)


def missing(part: str, why: str) -> None:
    """Skip the test that needs a part, or fail it where `OTJOBS_TEST_REQUIRE` names the part or is `all`."""
    required = {name.strip() for name in os.environ.get("OTJOBS_TEST_REQUIRE", "").split(",")}
    text = f"needs {part}: {why}; get it with `make services`"
    if required & {part, "all"}:
        pytest.fail(text)
    pytest.skip(text)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(condition, seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.05)
    pytest.fail(f"waited {seconds} s and still not: {what}")


def answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.3)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def process(command, log: Path, **options):
    """Run a process for the length of the block; it is stopped, or killed after 20 s."""
    with log.open("ab") as out:
        child = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True, **options)
    try:
        yield child
    finally:
        if child.poll() is None:
            child.terminate()
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


@dataclass
class ClickHouse:
    """A running server."""

    http_port: int
    tcp_port: int
    folder: Path

    @property
    def url(self) -> str:
        return f"http://default:@127.0.0.1:{self.http_port}/otjobs"


@contextlib.contextmanager
def clickhouse_server(folder: Path, config: Path | None = None):
    """Run a real ClickHouse server on free ports."""
    library = services.clickhouse_path()
    if not library.exists():
        missing("clickhouse", "a real ClickHouse server")
    server = ClickHouse(free_port(), free_port(), folder)
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(ROOT / "tools" / "clickhouse_server.py"), str(library), str(data)]
    command += [str(server.http_port), str(server.tcp_port), *([str(config)] if config else [])]

    def pings() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{server.http_port}/ping", timeout=1) as reply:
                return reply.status == 200
        except OSError:
            return False

    with process(command, folder / "clickhouse.log") as child:
        wait_until(lambda: pings() or child.poll() is not None, 60, "ClickHouse answers")
        if child.poll() is not None:
            pytest.fail("ClickHouse ended: " + (folder / "clickhouse.log").read_text(errors="replace")[-2000:])
        yield server


@contextlib.contextmanager
def redis_server(folder: Path):
    """Run a real Redis server on a free port; gives its URL."""
    if not shutil.which("redis-server"):
        missing("redis", "a Redis server")
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(folder)]
    with process(command, folder / "redis.log"):
        wait_until(lambda: answers(port), 20, "Redis answers")
        yield f"redis://127.0.0.1:{port}/0"


def collector_binary() -> str:
    """Return the path of the collector built from `collector/builder.yaml`."""
    path = services.collector_path()
    if not path.exists():
        missing("collector", "the collector built from collector/builder.yaml")
    return str(path)
