"""A database of any earlier version, with data in it and more arriving, becomes the same as a new one."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from datetime import timedelta

import pytest
from jobs_of import failure, figures, midnight, workflow

from otjobs.backend.store import connect
from otjobs.backend.store.migrate import Layout, applied, apply, migrate, migrations
from otjobs.errors import NewerSchemaError, StoreError

pytestmark = pytest.mark.clickhouse
NEWEST = migrations()[-1][0]
DAY = midnight(2)


def migrate_to(store, version):
    for name in ("create_database", "create_versions"):
        store.run("migrate", name)
    store._use()
    for number, name, script in migrations():
        if number <= version:
            apply(store, number, name, script, Layout())


def definitions(store):
    rows = store.query(
        "SELECT name, replaceAll(create_table_query, concat(database, '.'), '') FROM system.tables"
        " WHERE database = currentDatabase() AND name NOT LIKE '.inner%' ORDER BY name"
    ).rows
    return dict(rows)


def history(first, count):
    spans = [failure(first + 500_000, DAY)]
    for number in range(first, first + count):
        spans += workflow(number, DAY + timedelta(minutes=number % 1000))
    return spans


@pytest.fixture
def fresh(clickhouse):
    found = connect(clickhouse.database_url("upgrade_fresh"))
    migrate(found)
    yield found
    found.close()
    clickhouse.query("DROP DATABASE upgrade_fresh SYNC")


@pytest.mark.parametrize("version", [number for number, _, _ in migrations() if 1 <= number < NEWEST])
def test_from_every_version_with_data_under_ingest(fresh, clickhouse, url, version):
    # Given a database of that version with data, into which a writer goes on inserting
    store = connect(url)
    migrate_to(store, version)
    assert max(applied(store)) == version
    sent = history(1, 20)
    store.insert_spans(sent)
    stop, troubles = threading.Event(), []

    def write():
        mine, number = connect(url), 100
        try:
            while not stop.is_set():
                spans = history(number, 3)
                mine.insert_spans(spans)
                sent.extend(spans)
                number += 3
        except Exception as error:  # noqa: BLE001  (told below)
            troubles.append(repr(error))
        finally:
            mine.close()

    writer = threading.Thread(target=write)
    writer.start()
    time.sleep(0.5)
    # When it is migrated
    done = migrate(store)
    time.sleep(0.5)
    stop.set()
    writer.join()
    # Then it is the same as a new one, and says the same of the same spans.
    assert troubles == []
    assert done == [number for number, _, _ in migrations() if number > version]
    assert definitions(store) == definitions(fresh)
    fresh.insert_spans(sent)
    got, right = figures(store), figures(fresh)
    assert len(right["jobs"]) > 40
    for view, rows in right.items():
        assert got[view] == rows, view
    store.close()


def test_several_at_once_are_harmless(url):
    done, troubles = [], []

    def one():
        store = connect(url)
        try:
            done.append(migrate(store))
        except Exception as error:  # noqa: BLE001
            troubles.append(repr(error))
        finally:
            store.close()

    threads = [threading.Thread(target=one) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert troubles == []
    store = connect(url)
    assert applied(store) == [number for number, _, _ in migrations()]
    assert migrate(store) == []
    store.insert_spans(history(1, 2))
    assert len(figures(store, "jobs")["jobs"]) == 4
    store.close()


READING = [
    "queues",
    "types",
    "jobs",
    "workflows",
    "job o1",
    "workflow 1",
    "sql --named queues",
    "rebuild",
    "forget --label a=b",
]


@pytest.mark.parametrize("command", [*READING, "migrate", "migrate --show"])
def test_an_older_client_says_what_to_do(newer, command):
    done = subprocess.run(
        [sys.executable, "-c", "from otjobs.backend.cli import main; main()", *command.split(), "--url", newer],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stdout
    assert "has schema version 999" in done.stderr
    assert "pip install --upgrade otjobs" in done.stderr


@pytest.fixture(scope="module")
def newer(clickhouse):
    address = clickhouse.database_url("upgrade_newer")
    store = connect(address)
    migrate(store)
    store.command("INSERT INTO otjobs_migrations (version, name) VALUES (999, 'future')")
    with pytest.raises(NewerSchemaError):
        migrate(store)
    store.close()
    yield address
    clickhouse.query("DROP DATABASE upgrade_newer SYNC")


def test_a_server_that_is_too_old_is_refused_and_left_alone(url, monkeypatch):
    monkeypatch.setattr("otjobs.backend.store.migrate.OLDEST_SERVER", (99, 1))
    store = connect(url)
    with pytest.raises(StoreError, match=r"is ClickHouse 2\d\.\d+\.\d+\.\d+; otjobs needs 99\.1 or newer: upgrade it"):
        migrate(store)
    assert not store.exists()
    store.close()
