"""The real parts tests run against, and what to do where one is missing.

`require(part)` skips with one line that says how to get the part, or fails where `OTJOBS_TEST_REQUIRE` names it
(a comma list, or `all`). The fixtures in conftest.py use these; tests that need a second or an odd server call them.
"""

from __future__ import annotations

import importlib.util
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import ModuleType

Found = TypeVar("Found")
ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / "tools"
ZOOKEEPER = Path("/usr/share/java/zookeeper.jar")
SYSTEM_PATH = "/usr/sbin:/usr/lib/rabbitmq/bin:/usr/local/sbin:/usr/local/go/bin:/sbin"


def tool(name: str) -> ModuleType:
    """Import tools/<name>.py."""
    if str(TOOLS) not in sys.path:
        sys.path.insert(0, str(TOOLS))
    return importlib.import_module(name)


def program(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path=SYSTEM_PATH)


BUSY_NS = 5_000_000_000
"""How long a busy machine may keep a process from its next line. Tests compare orders; this only bounds a difference."""


# What tells that a part is there, and how to get it.
def _library() -> bool:
    return bool(tool("clickhouse").library().exists())


def _oldest_library() -> bool:
    return bool(tool("clickhouse").library("oldest").exists())


def _collector() -> bool:
    return bool(tool("collector").binary().exists())


def _bullmq() -> bool:
    return bool(program("node")) and tool("bullmq").modules().exists()


def _rabbitmq_clients() -> bool:
    return bool(tool("rabbitmq_clients").folder().exists())


def _zookeeper() -> bool:
    return ZOOKEEPER.exists() and bool(program("java"))


def _sdk(which: str) -> bool:
    return bool(tool("sdks").folder(which).exists())


def _chdb() -> bool:
    return importlib.util.find_spec("chdb") is not None


PARTS: dict[str, tuple[Callable[[], bool], str]] = {
    "redis": (lambda: bool(program("redis-server")), "make services"),
    "clickhouse": (_library, "make services"),
    "clickhouse-oldest": (_oldest_library, "make services"),
    "collector": (_collector, "make services (needs Go)"),
    "rabbitmq": (lambda: bool(program("rabbitmq-server")), "python tools/services.py rabbitmq"),
    "rabbitmq-clients": (_rabbitmq_clients, "python tools/services.py rabbitmq-clients"),
    "bullmq": (_bullmq, "python tools/services.py bullmq (needs Node.js)"),
    "zookeeper": (_zookeeper, "python tools/services.py zookeeper (needs Java)"),
    "sdk-oldest": (lambda: _sdk("oldest"), "make services"),
    "sdk-previous": (lambda: _sdk("previous"), "make services"),
    "go": (lambda: bool(program("go")), "install Go 1.25 or newer"),
    "chromium": (lambda: bool(program("chromium")), "python tools/services.py chromium"),
    "chdb": (_chdb, "pip install 'otjobs[embedded]'"),
}
# Too large or too much to ask for `all` to mean them: they fail only when named.
OPTIONAL = frozenset({"rabbitmq", "rabbitmq-clients", "bullmq", "zookeeper", "chromium"})


def required(part: str) -> bool:
    """Return whether a missing part is a failure here."""
    names = {name.strip() for name in os.environ.get("OTJOBS_TEST_REQUIRE", "").split(",")}
    return part in names or ("all" in names and part not in OPTIONAL)


def missing(part: str, why: str) -> NoReturn:
    """Skip, or fail where the part is required."""
    if required(part):
        pytest.fail(f"{part} is required here (OTJOBS_TEST_REQUIRE) but {why}", pytrace=False)
    pytest.skip(f"{part}: {why}")


def missing_part(report: pytest.TestReport) -> str:
    """Return `part: why` of a test that `missing` skipped, '' of any other."""
    if not isinstance(report.longrepr, tuple):
        return ""
    text = str(report.longrepr[2]).removeprefix("Skipped: ")
    return text if text.partition(":")[0] in PARTS else ""


UNSUPPORTED = "unsupported: "
"""What the reason of a scenario begins with that a library cannot do."""


def unsupported(report: pytest.TestReport | pytest.CollectReport) -> bool:
    """Return whether a library is declared not to do what the test asks of it: this is no skip."""
    return isinstance(report.longrepr, tuple) and str(report.longrepr[2]).startswith(f"Skipped: {UNSUPPORTED}")


def missing_lines(reports: Sequence[pytest.TestReport]) -> Iterator[str]:
    """Yield one line for each part that the skipped tests of these reports wait for."""
    counts = Counter(missing_part(report) for report in reports)
    for text, count in sorted(counts.items()):
        yield f"MISSING {text} ({count} test{'' if count == 1 else 's'} skipped)"


def require(part: str) -> None:
    """Skip or fail the test unless the part is there."""
    there, how = PARTS[part]
    if not there():
        missing(part, f"not there; get it with: {how}")


def longest_first(items: list[pytest.Item], root: Path) -> None:
    """Sort tests by long_first.txt, so that a parallel run does not end with one file that takes minutes."""
    names = (ROOT / "tests" / "long_first.txt").read_text().splitlines()
    places = {name: place for place, name in enumerate(names)}
    items.sort(key=lambda item: places.get(item.path.relative_to(root).as_posix(), len(places)))


def unit_of_work(nodeid: str) -> str:
    """Return which tests one worker of a parallel run gets together: a file, or the scenarios of a library."""
    scenario = re.search(r"integrations/scenarios/test_scenario_\w+\.py::\w+\[(\w+)", nodeid)
    return f"scenarios of {scenario[1]}" if scenario else nodeid.partition("::")[0]


def _ports() -> Iterator[int]:
    """Yield ports below those that the system gives to clients, in any order; workers of one run have none in common."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    while True:
        yield from random.SystemRandom().sample(range(10_000 + worker, 32_000, workers), (22_000 - worker) // workers)


_PORTS = _ports()
_PORTS_LOCK = threading.Lock()  # a generator runs in one thread at a time


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_port() -> int:
    """Return a loopback port that is free now, and that nobody is given before a server listens there."""
    with _PORTS_LOCK:
        return next(port for port in _PORTS if _free(port))


def wait_until(check: Callable[[], Found], *, seconds: float = 90.0, what: str = "it", every: float = 0.05) -> Found:
    """Return the first true value of `check()`; raise TimeoutError after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds} s for {what}")
        time.sleep(every)


def children(pid: int) -> list[int]:
    """Return the processes below a process; none where it has gone."""
    import psutil

    with suppress(psutil.NoSuchProcess):
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    return []


def json_lines(path: Path, *, from_byte: int = 0) -> list[Any]:
    """Return what processes have logged to a file, a JSON text a line; a line that is still being written is not there yet."""
    if not path.exists():
        return []
    with path.open("rb") as lines:
        lines.seek(from_byte)
        return [json.loads(line) for line in lines.read().split(b"\n")[:-1]]


def http_ok(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


class Process:
    """A child process in a session of its own, its output in a file, ended with everything it started."""

    def __init__(
        self, command: Sequence[str | Path], *, log: Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> None:
        self.log = log
        with log.open("ab") as out:
            self.popen = subprocess.Popen(
                [str(part) for part in command],
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=dict(env) if env is not None else None,
                cwd=cwd,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.popen.pid

    def running(self) -> bool:
        return self.popen.poll() is None

    def output(self, last: int = 4000) -> str:
        return self.log.read_text(errors="replace")[-last:] if self.log.exists() else ""

    def wait_ready(self, check: Callable[[], object], *, seconds: float, what: str) -> None:
        def ready() -> bool:
            if not self.running():
                raise RuntimeError(f"{what} ended with {self.popen.returncode}:\n{self.output()}")
            return bool(check())

        try:
            wait_until(ready, seconds=seconds, what=what)
        except TimeoutError as problem:
            raise RuntimeError(f"{problem}:\n{self.output()}") from None

    def signal(self, number: int) -> None:
        if self.running():
            self.popen.send_signal(number)

    def kill(self) -> None:
        """SIGKILL to the whole session."""
        try:
            os.killpg(self.popen.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.popen.wait()

    def stop(self, seconds: float = 10.0) -> int:
        """SIGTERM, then SIGKILL after `seconds`; return the exit status."""
        self.signal(signal.SIGTERM)
        try:
            self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            pass
        self.kill()
        return self.popen.returncode


@contextmanager
def zookeeper(folder: Path) -> Iterator[int]:
    """Run ZooKeeper on a free port, and give the port."""
    require("zookeeper")
    port = free_port()
    folder.mkdir(parents=True)
    (folder / "zoo.cfg").write_text(
        f"tickTime=2000\ndataDir={folder / 'data'}\nclientPort={port}\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n"
    )
    main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
    command: list[str | Path] = [
        program("java") or "java",
        "-Xmx256m",
        "-cp",
        f"{ZOOKEEPER.parent}/*",
        main,
        folder / "zoo.cfg",
    ]
    process = Process(command, log=folder / "zookeeper.log")

    def answers() -> bool:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as wire:
                wire.sendall(b"srvr")
                return b"Zookeeper version" in wire.recv(1000)
        except OSError:
            return False

    try:
        process.wait_ready(answers, seconds=90, what="ZooKeeper")
        yield port
    finally:
        process.stop()


@contextmanager
def redis_server(folder: Path, port: int = 0) -> Iterator[str]:
    """Run a Redis server on a port, a free one by default, without persistence, and give its URL."""
    require("redis")
    port = port or free_port()
    folder.mkdir(parents=True, exist_ok=True)
    command: list[str | Path] = [
        program("redis-server") or "redis-server",
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--dir",
        folder,
        "--save",
        "",
        "--appendonly",
        "no",
    ]
    process = Process(command, log=folder / "redis.log")

    def answers() -> bool:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as wire:
                wire.sendall(b"PING\r\n")
                return wire.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    try:
        process.wait_ready(answers, seconds=90, what="Redis")
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.stop()


@contextmanager
def rabbitmq_server(folder: Path) -> Iterator[str]:
    """Run a RabbitMQ server of its own on free loopback ports, and give its URL."""
    require("rabbitmq")
    port, between = free_port(), free_port()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rabbitmq.conf").write_text(f"listeners.tcp.1 = 127.0.0.1:{port}\n")
    (folder / "plugins").write_text("[].\n")
    environment = {
        **os.environ,
        "PATH": f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}",
        "HOME": str(folder),  # where it keeps the secret that its tools share
        "RABBITMQ_NODENAME": f"otjobs-{port}@localhost",
        "RABBITMQ_MNESIA_BASE": str(folder),
        "RABBITMQ_LOG_BASE": str(folder),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_DIST_PORT": str(between),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": str(free_port()),  # a name server of its own, which ends with the session
    }
    # The wrapper on the PATH changes to another account, which cannot write here.
    process = Process(["/usr/lib/rabbitmq/bin/rabbitmq-server"], log=folder / "rabbitmq.log", env=environment)

    def answers() -> bool:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as wire:
                wire.sendall(b"AMQP\x00\x00\x09\x01")
                return bool(wire.recv(8))
        except OSError:
            return False

    try:
        process.wait_ready(answers, seconds=90, what="RabbitMQ")
        yield f"amqp://guest:guest@127.0.0.1:{port}//"
    finally:
        process.stop(20)


def collector_binary() -> Path:
    """Return the collector built from collector/builder.yaml."""
    require("collector")
    return Path(tool("collector").binary())
