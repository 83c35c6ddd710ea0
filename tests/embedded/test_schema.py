"""A folder of an older or newer otjobs: brought up to date with its data, or refused by name."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from otjobs.backend.server import Server
from otjobs.backend.store.migrate import migrations
from otjobs.errors import NewerSchemaError

NEWEST = max(version for version, _, _ in migrations())

# In a process of its own: chDB opens one folder per process.
OLDER = textwrap.dedent(
    """
    import sys
    from otjobs.backend.store import connect, migrate
    all_of_them = migrate.migrations()
    migrate.migrations = lambda: all_of_them[:-1]
    store = connect("chdb://" + sys.argv[1])
    migrate.migrate(store)
    store.command("INSERT INTO otel_traces (Timestamp, TraceId, SpanId, SpanName, ServiceName) VALUES (now64(9), 'a', 'b', 'old', 'before')")
    store.close()
    """
)


def _version(client) -> int:
    return client.sql("SELECT max(version) FROM otjobs_migrations")[0][0]


def test_an_older_folder_is_brought_up_to_date_and_says_so(start, tmp_path, span, request_of):
    subprocess.run([sys.executable, "-c", OLDER, str(tmp_path / "data")], check=True, timeout=120)
    client = start()
    assert _version(client) == NEWEST
    assert client.names("before") == ["old"]
    assert f"from schema version {NEWEST - 1} to {NEWEST}" in client.server.log
    assert client.post(request_of("now", span("new")).SerializeToString()).status_code == 200
    assert client.names("now") == ["new"]


def test_a_folder_that_is_up_to_date_is_left_alone(start):
    first = start()
    before = first.sql(
        "SELECT name, metadata_modification_time FROM system.tables WHERE database = 'otjobs' ORDER BY name"
    )
    assert first.server.stop() == 0
    again = start()
    assert _version(again) == NEWEST
    after = again.sql(
        "SELECT name, metadata_modification_time FROM system.tables WHERE database = 'otjobs' ORDER BY name"
    )
    assert after == before
    assert "schema version" not in again.server.log


def test_a_newer_folder_is_refused_and_stays_as_it_is(start, tmp_path):
    client = start()
    client.command(f"INSERT INTO otjobs_migrations (version, name) VALUES ({NEWEST + 1}, 'of tomorrow')")
    client.server.stop()
    with pytest.raises(NewerSchemaError, match=f"schema version {NEWEST + 1}.*this otjobs knows {NEWEST}.*pip install"):
        Server(tmp_path / "data").start()
