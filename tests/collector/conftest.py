"""A database of one's own for each test, and a gateway in front of it."""

from __future__ import annotations

import itertools

import pytest
import wire

from otjobs.backend.store import connect
from otjobs.backend.store.migrate import migrate

_numbers = itertools.count(1)


@pytest.fixture
def store(clickhouse):
    name = f"collector_{next(_numbers)}"
    found = connect(clickhouse.database_url(name))
    migrate(found)
    yield found
    found.close()
    clickhouse.query(f"DROP DATABASE {name}")


@pytest.fixture
def gateway(tmp_path, collector_binary, clickhouse, store):
    with wire.running(wire.gateway(collector_binary, tmp_path / "gateway", clickhouse, store.database)) as found:
        yield found
