"""Servers for the suites of others, as our own tests start them."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cache import ROOT

sys.path.insert(0, str(ROOT / "tests"))

import parts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def redis(folder: Path) -> Iterator[dict[str, str]]:
    """Run a Redis server, and give its place under every name that suites read."""
    with parts.redis_server(folder / "redis") as url:
        host, port = url.removeprefix("redis://").removesuffix("/0").split(":")
        yield {"TEST_BROKER": url, "TEST_BACKEND": url, "REDIS_URL": url, "REDIS_HOST": host, "REDIS_PORT": port}
