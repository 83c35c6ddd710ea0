"""A store for this folder, emptied for each test."""

from __future__ import annotations

import clickhouses
import pytest

from otjobs.backend.store import connect
from otjobs.backend.store.migrate import migrate


@pytest.fixture(scope="module")  # chDB opens one folder a process: the next module has its own
def filled_store(tmp_path_factory):
    store = connect(f"chdb://{tmp_path_factory.mktemp('foreign')}")
    migrate(store)
    yield store
    store.close()


@pytest.fixture
def store(filled_store):
    clickhouses.empty(filled_store)
    return filled_store
