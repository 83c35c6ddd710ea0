from __future__ import annotations

import os
import subprocess
import sys

import parts
import pytest
from running import fill

from otjobs.backend.server import Server


@pytest.fixture(autouse=True)
def terminal(monkeypatch):
    """One terminal for all tests, not that of whoever runs them: what is drawn depends on these variables."""
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.fixture(scope="session")
def embedded_url(tmp_path_factory):
    parts.require("chdb")
    with Server(tmp_path_factory.mktemp("cli") / "data") as server:
        yield fill(server.endpoints.url)


@pytest.fixture(scope="session")
def folder_url(tmp_path_factory):
    parts.require("chdb")
    folder = tmp_path_factory.mktemp("cli-folder")
    url = f"chdb://{folder}"
    # In a process of its own: chDB holds the folder as long as a process lives.
    script = f"import running; running.fill({url!r})"
    subprocess.run(
        [sys.executable, "-c", script], check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    return url


@pytest.fixture(scope="session")
def server_url(clickhouse):
    return fill(clickhouse.database_url("otjobs_cli"))


@pytest.fixture(params=["embedded", pytest.param("server", marks=pytest.mark.clickhouse)])
def anywhere(request):
    """The same history in the embedded server and in a real ClickHouse server."""
    return request.getfixturevalue(f"{request.param}_url")
