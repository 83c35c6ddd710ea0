"""What docs/howto/backup.md says, done: a database is backed up, lost, restored, and goes on."""

from __future__ import annotations

from datetime import timedelta

import clickhouses
import pytest
from jobs_of import figures, midnight, workflow

from otjobs.backend.store import connect
from otjobs.backend.store.migrate import migrate

pytestmark = pytest.mark.clickhouse


def test_backed_up_lost_and_restored(tmp_path):
    config = tmp_path / "config.xml"
    config.write_text(f"<clickhouse><backups><allowed_path>{tmp_path}/backups/</allowed_path></backups></clickhouse>")
    with clickhouses.clickhouse_server(tmp_path / "server", config=config) as server:
        store = connect(server.database_url("otjobs"))
        migrate(store)
        store.insert_spans(workflow(1, midnight(1)))
        clickhouses.age(store)
        store.insert_spans(workflow(2, midnight(1) + timedelta(minutes=1)))
        before = figures(store)
        server.query("BACKUP DATABASE otjobs TO File('monday')")
        server.query("DROP DATABASE otjobs SYNC")
        server.query("RESTORE DATABASE otjobs FROM File('monday')")
        assert figures(store) == before
        # A restored view that refreshes does not run (26.7) before the server has started anew.
        server.stop()
        server.start()
        store = connect(server.database_url("otjobs"))
        assert figures(store) == before
        assert migrate(store) == []
        # And it goes on: spans, states, stored rows.
        store.insert_spans(workflow(3, midnight(1) + timedelta(minutes=2)))
        right = figures(store)
        assert len(right["workflows"]) == 3
        clickhouses.age(store)
        got = figures(store)
        for view, rows in right.items():
            assert got[view] == rows, view
        assert store.query("SELECT uniqExact(workflow_id) FROM workflow_rows WHERE workflow_id != ''").rows == [(3,)]
        exceptions = "SELECT DISTINCT exception FROM system.view_refreshes WHERE database = 'otjobs'"
        assert store.query(exceptions).rows == [("",)]
        store.close()
