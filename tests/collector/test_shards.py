"""A gateway in front of two shards, of which one is killed while spans arrive."""

from __future__ import annotations

import clickhouses
import parts
import pytest
import wire
from wire import NOW, SECOND, request, span, stored

pytestmark = [pytest.mark.collector, pytest.mark.clickhouse]
JOBS = range(600)


def test_nothing_is_lost_or_doubled(tmp_path, collector_binary):
    with clickhouses.clickhouse_cluster(tmp_path / "pair") as servers:
        store, other = clickhouses.over_shards(servers, "otjobs")
        other.close()
        over_http = {"OTJOBS_CLICKHOUSE_ENDPOINT": f"http://127.0.0.1:{servers[0].http_port}?dial_timeout=5s"}
        gateway = wire.gateway(collector_binary, tmp_path / "gateway", servers[0], "otjobs", **over_http)
        with wire.running(gateway):
            # Given spans that the gateway acknowledges, before and while a shard is away
            for job in JOBS:
                if job == 200:
                    stored(store, range(200))
                    servers[1].kill()
                sent = span(job, kind="send", start=NOW - SECOND, seconds=0)
                assert gateway.post(request(sent, span(job))).status_code == 200
            parts.wait_until(lambda: gateway.metric("otelcol_exporter_queue_size") > 0, what="a queue")
            # When it comes back
            servers[1].start()
            # Then every job is there
            stored(store, JOBS, seconds=60)
        # And once
        jobs = len(JOBS)
        assert store.query("SELECT count(), countIf(state = 'succeeded'), sum(attempts) FROM jobs").rows == [
            (jobs, jobs, jobs)
        ]
        assert store.query(
            "SELECT sum(dispatched), sum(started), sum(succeeded), sum(queue_seconds) FROM queue_minutes"
        ).rows == [(jobs, jobs, jobs, float(jobs))]
        held = [int(server.query("SELECT count() FROM otjobs_local.jobs")) for server in servers]
        assert min(held) > 100
        assert sum(held) == jobs
        store.close()
