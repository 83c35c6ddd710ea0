"""Fixtures that start the real parts, once a session."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import parts


@pytest.fixture(scope="session")
def clickhouse(tmp_path_factory):
    """A real ClickHouse server; tests use databases or tables of their own."""
    with parts.clickhouse_server(tmp_path_factory.mktemp("clickhouse")) as server:
        yield server


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory):
    """A real Redis server."""
    with parts.redis_server(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture(scope="session")
def collector_binary():
    """The real collector."""
    return parts.collector_binary()


@pytest.fixture(scope="session")
def free_port():
    """A function that finds a free port."""
    return parts.free_port
