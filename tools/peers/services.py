"""Servers for the suites of others, as our own tests start them."""

from __future__ import annotations

import socket
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cache import ROOT

sys.path.insert(0, str(ROOT / "tests"))

import parts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REDIS_PORT = 6379


@contextmanager
def redis(folder: Path) -> Iterator[dict[str, str]]:
    """Run a Redis server, and give its place under every name that suites read."""
    with parts.redis_server(folder / "redis") as url:
        host, port = url.removeprefix("redis://").removesuffix("/0").split(":")
        yield {"TEST_BROKER": url, "TEST_BACKEND": url, "REDIS_URL": url, "REDIS_HOST": host, "REDIS_PORT": port}


@contextmanager
def redis_on_its_port(folder: Path) -> Iterator[dict[str, str]]:
    """Run a Redis server where clients look that nobody has told anything."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", REDIS_PORT)) == 0:
            raise RuntimeError(f"port {REDIS_PORT} has to be free: the tests empty the databases of the server there")
    with parts.redis_server(folder / "redis", REDIS_PORT):
        yield {}
