from __future__ import annotations

import os
import subprocess
import sys

import parts
import pytest
from running import fill

from otjobs.server import Server


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
