"""A database of its own on the real server for each test."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from otjobs.backend.store import Store, connect
from otjobs.backend.store.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def url(clickhouse, request) -> Iterator[str]:
    """The address of a database that is not there yet."""
    name = re.sub(r"\W+", "_", request.node.name)[:50]
    yield clickhouse.database_url(name)
    clickhouse.query(f"DROP DATABASE IF EXISTS {name} SYNC")


@pytest.fixture
def store(url) -> Iterator[Store]:
    """A database with the schema."""
    found = connect(url)
    migrate(found)
    yield found
    found.close()


@pytest.fixture
def not_refreshed(monkeypatch) -> None:
    """Rebuild as an account that may not have rows stored at once: nothing waits for them."""
    monkeypatch.setattr("otjobs.backend.store.rebuild._refresh", lambda *_: None)
