"""Fixtures every test may use: the real parts, one of each per run."""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

# `import parts` works from every folder of tests.
sys.path.insert(0, str(Path(__file__).resolve().parent))

import clickhouses
import parts

# Embedded servers keep their tokens here, by port: not among those of whoever runs the tests.
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="otjobs-state-")
atexit.register(shutil.rmtree, os.environ["XDG_STATE_HOME"], ignore_errors=True)

# A shell that starts the run in the background lets it and all its children ignore Ctrl-C, which tests send.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

if TYPE_CHECKING:
    from collections.abc import Iterator


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let long files begin where several run at a time."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        parts.longest_first(items, config.rootpath)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """Give each worker whole files, and all scenarios of one library, whose processes they share."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return parts.unit_of_work(nodeid)

    return Scheduling(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """Count what a library cannot do apart from what was skipped."""
    return ("unsupported", "u", "UNSUPPORTED") if parts.unsupported(report) else None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    """Tell once of each missing part, how to get it, and how many tests wait for it, instead of every place of a skip."""
    skipped = terminalreporter.stats.get("skipped", [])
    for_parts = [report for report in skipped if parts.missing_part(report)]
    terminalreporter.stats["skipped"] = [report for report in skipped if report not in for_parts]
    try:
        return (yield)
    finally:
        terminalreporter.stats["skipped"] = skipped
        for line in parts.missing_lines(for_parts):
            terminalreporter.write_line(line)


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """A worker in the process of the tests sets up logging for its own sake, and later tests read what was logged."""
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis server's URL."""
    with parts.redis_server(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture(scope="session")
def rabbitmq_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A RabbitMQ server's URL."""
    with parts.rabbitmq_server(tmp_path_factory.mktemp("rabbitmq")) as url:
        yield url


@pytest.fixture(scope="session")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[clickhouses.ClickHouse]:
    """A real ClickHouse server; make a database of your own in it."""
    with clickhouses.clickhouse_server(tmp_path_factory.mktemp("clickhouse")) as server:
        yield server


@pytest.fixture(scope="session")
def collector_binary() -> Path:
    """The collector built from collector/builder.yaml."""
    return parts.collector_binary()
