"""A store for this folder, emptied for each test."""

from __future__ import annotations

import pytest

from otjobs.store import connect
from otjobs.store.migrate import migrate


@pytest.fixture(scope="session")
def filled_store(tmp_path_factory):
    store = connect(f"chdb://{tmp_path_factory.mktemp('foreign')}")
    migrate(store)
    store.command("SYSTEM STOP VIEWS")  # a refresh under way would write into tables that are emptied
    yield store
    store.close()


def empty(store):
    tables = store.query(
        "SELECT name FROM system.tables WHERE database = {name:String} AND engine LIKE '%MergeTree' "
        "AND name NOT IN ('otjobs_migrations', 'otjobs_settings') AND name NOT LIKE '.inner%'",
        {"name": store.database},
    ).rows
    for (table,) in tables:
        store.command(f"TRUNCATE TABLE {table}")


@pytest.fixture
def store(filled_store):
    empty(filled_store)
    return filled_store
