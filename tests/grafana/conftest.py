"""A database with a made-up past, and an empty one."""

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path

import pytest

# `import grafana` is the package at the top of the repository, not this folder.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from panel_history import History

from otjobs.backend.store import connect
from otjobs.backend.store.migrate import migrate

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def new_store(clickhouse):
    """Return a function that makes an empty database."""
    made = []

    def make():
        name = f"grafana_{next(_numbers)}"
        found = connect(clickhouse.database_url(name))
        migrate(found)
        made.append((name, found))
        return found

    yield make
    for name, found in made:
        found.close()
        clickhouse.query(f"DROP DATABASE {name}")


@pytest.fixture(scope="session")
def empty(new_store):
    return new_store()


@pytest.fixture(scope="session")
def past(new_store):
    """Return a history of the last 50 minutes and the store that has its spans."""
    history = History(seed=7, size=700, now=time.time_ns() // 1000 * 1000)
    store = new_store()
    history.store(store)
    return history, store
