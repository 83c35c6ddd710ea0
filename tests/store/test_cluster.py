"""Several servers: how their databases are made, and what holds while one of them is away."""

from __future__ import annotations

import json
import random
from datetime import timedelta

import clickhouses
import parts
import pytest
from click.testing import CliRunner
from clickhouses import hosts
from jobs_of import midnight, nanoseconds, other_span, span

from otjobs.backend.cli.app import cli
from otjobs.backend.store import connect
from otjobs.backend.store.cluster import Cluster, find_cluster, migrate_cluster, shards
from otjobs.backend.store.forget import forget
from otjobs.backend.store.migrate import applied, migrate, migrations
from otjobs.errors import ConfigurationError, QueryError, StoreError, StoreUnreachableError

pytestmark = pytest.mark.clickhouse
S = 1_000_000_000


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    with clickhouses.clickhouse_cluster(tmp_path_factory.mktemp("pair")) as found:
        yield found


@pytest.fixture(autouse=True)
def nothing_left(servers):
    """A database that stays has its rows stored twice a minute, beside every later test."""
    yield
    for server in servers:
        clickhouses.drop_databases(server)


@pytest.fixture
def pair(servers, request):
    """A new database over two shards, as the first host and the second give it."""
    name = request.node.name.removeprefix("test_")[:50]
    first, second = clickhouses.over_shards(servers, name)
    yield first, second
    first.close()
    second.close()


def call(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def workflow(label=""):
    """A job that runs in a trace of its own, with a span of the user's code in it; two or three spans."""
    at = nanoseconds(midnight()) - 3600 * S
    flow, trace = (f"{random.getrandbits(128) | 1:032x}" for _ in range(2))
    ids = {"otjobs.workflow.id": flow} | ({"otjobs.label.customer": label} if label else {})
    job = flow[:8]
    found = [
        span("send", flow, job, "order", at, enqueued_at=at),
        span("process", trace, job, "order", at + S, 2.0, enqueued_at=at, outcome="success", dispatched=0, attempt=1),
        other_span(trace, at + S, 1.0),
    ]
    for row in found[:2]:
        row[11].update(ids)
    return flow, trace, found


def test_the_command_makes_every_host(servers):
    address = servers[0].database_url("by_command")
    named = [argument for host in hosts(servers) for argument in ("--host", host)]
    # When the command is called
    made = call("migrate", "--url", address, "--cluster", "pair", *named, "--keep-spans", "14d")
    assert made.exit_code == 0, made.output
    assert "over the shards of pair: by_command_local at" in made.output
    # Then every host has the schema, keeps spans as long, and shows both databases
    for server in servers:
        local = connect(server.database_url("by_command_local"))
        assert applied(local) == [version for version, _, _ in migrations()]
        assert "toIntervalDay(14 + 1)" in server.query("SHOW CREATE TABLE by_command_local.otel_traces")
        local.close()
        shown = call("migrate", "--show", "--url", server.database_url("by_command"))
        assert "for 14 days" in shown.output
    # And again, it changes nothing, also when the cluster is not named any more
    before = [
        server.query("SELECT name, uuid FROM system.tables WHERE database = 'by_command_local'") for server in servers
    ]
    again = call("migrate", "--url", servers[1].database_url("by_command"))
    assert again.exit_code == 0, again.output
    assert "was already at schema version" in again.output
    after = [
        server.query("SELECT name, uuid FROM system.tables WHERE database = 'by_command_local'") for server in servers
    ]
    assert before == after


def test_an_unknown_cluster_is_named(servers):
    failed = call("migrate", "--url", servers[0].database_url("nowhere"), "--cluster", "trio")
    assert failed.exit_code == 1
    assert "knows no cluster trio; it knows: pair" in failed.output
    assert "nowhere" not in servers[0].query("SHOW DATABASES")


def test_every_server_of_a_cluster_is_named_once(servers):
    first = hosts(servers)[0]
    for named in (["--host", first], ["--host", first, "--host", first], []):
        failed = call("migrate", "--url", servers[0].database_url("half"), "--cluster", "pair", *named)
        assert failed.exit_code == 1
        assert (
            "the cluster pair has 2 servers, shards and replicas together, and these are 1: 127.0.0.1" in failed.output
        )
    assert "half" not in servers[0].query("SHOW DATABASES")


def test_a_host_that_is_away_is_named(servers):
    away = f"127.0.0.1:{parts.free_port()}"
    here = hosts(servers)[0]
    failed = call(
        "migrate", "--url", servers[0].database_url("away"), "--cluster", "pair", "--host", here, "--host", away
    )
    assert failed.exit_code == 1
    assert f"no database answers at http://default:***@{away}" in failed.output


def test_the_database_of_one_server_stays_one(servers):
    store = connect(servers[0].database_url("alone"))
    migrate(store)
    with pytest.raises(ConfigurationError, match="holds spans itself"):
        migrate_cluster(store, find_cluster(store, "pair", hosts(servers)))
    store.close()


def test_a_shard_that_goes_and_comes_back(servers, pair):
    # Given workflows on both shards
    first, _ = pair
    sent = [workflow() for _ in range(40)]
    for _, _, rows in sent[:20]:
        first.insert_spans(rows)
    assert first.query("SELECT count(), countIf(complete) FROM workflows").rows == [(20, 20)]
    # When one is killed
    servers[1].kill()
    # Then nothing is said that is not so: an insert that needs it fails, and so does a figure
    with pytest.raises(StoreError):
        first.insert_spans([row for _, _, rows in sent[20:] for row in rows])
    with pytest.raises(
        StoreUnreachableError, match=rf"a shard of the cluster does not answer at 127.0.0.1:{servers[1].tcp_port}"
    ):
        first.query("SELECT count() FROM workflows")
    # But for who asks for what is left
    partial = first.query("SELECT count() FROM workflows SETTINGS skip_unavailable_shards = 1").rows[0][0]
    assert 0 < partial < 40
    # When it is back, and what was refused is sent again
    servers[1].start()
    first.insert_spans([row for _, _, rows in sent[20:] for row in rows])
    # Then all is there, once
    assert first.query("SELECT count(), countIf(complete), sum(jobs) FROM workflows").rows == [(40, 40, 40)]
    assert first.query("SELECT sum(dispatched), sum(succeeded), sum(queue_seconds) FROM queue_minutes").rows == [
        (40, 40, 40.0)
    ]


def test_forgetting_reaches_the_traces_on_other_shards(pair):
    # Given jobs of two customers, each in a trace that may be on another shard than its job
    first, second = pair
    sent = [workflow("acme" if number % 2 else "other") for number in range(20)]
    first.insert_spans([row for _, _, rows in sent for row in rows])
    gone = {trace for number, (_, trace, _) in enumerate(sent) if number % 2}
    # When one customer's are deleted
    found = forget(second, "customer", "acme")
    # Then so is everything of theirs, and nothing else
    assert (found.jobs, found.attempts, found.workflows, found.spans) == (10, 10, 10, 30)
    left = first.query("SELECT TraceId, count() FROM otel_traces GROUP BY TraceId").rows
    assert not {trace for trace, _ in left} & gone
    assert sum(count for _, count in left) == 30
    assert first.query("SELECT count() FROM jobs").rows == [(10,)]
    with shards(first) as local:
        assert all(not store.has_table("forget_workflows") for store in local)


def test_ids_are_looked_for_on_their_shard_alone(servers, pair):
    first, _ = pair
    flow, _, rows = workflow()
    first.insert_spans(rows)
    plan = "\n".join(
        row[0]
        for row in first.query(
            f"EXPLAIN SELECT * FROM jobs WHERE workflow_id = '{flow}' SETTINGS optimize_skip_unused_shards = 1, "
            "force_optimize_skip_unused_shards = 1, prefer_localhost_replica = 0"
        ).rows
    )
    assert "ReadFromRemote" in plan
    assert first.query(f"SELECT state FROM jobs WHERE workflow_id = '{flow}'").rows == [("succeeded",)]


def test_tables_are_replicated_by_a_real_zookeeper(tmp_path):
    with (
        parts.zookeeper(tmp_path / "zookeeper") as port,
        clickhouses.clickhouse_cluster(tmp_path, shards=1, replicas=2, zookeeper_port=port, engine="oldest") as servers,
    ):
        # When the cluster is made
        address = servers[0].database_url("otjobs")
        named = [argument for host in hosts(servers) for argument in ("--host", host)]
        made = call("migrate", "--url", address, "--cluster", "pair", "--replicated", *named)
        assert made.exit_code == 0, made.output
        # Then every table that holds figures is replicated, on both
        for server in servers:
            plain = server.query(
                "SELECT name FROM system.tables WHERE database = 'otjobs_local' AND engine LIKE '%MergeTree' "
                "AND engine NOT LIKE 'Replicated%'"
            )
            assert plain.split() == ["otjobs_migrations"]
        # And what one has stored, the other shows
        stores = [connect(server.database_url("otjobs_local")) for server in servers]
        sent = [workflow() for _ in range(10)]
        stores[0].insert_spans([row for _, _, rows in sent for row in rows])
        parts.wait_until(
            lambda: stores[1].query("SELECT count() FROM workflows WHERE complete").rows == [(10,)],
            what="the other replica",
        )
        # And what is forgotten on one is forgotten on both
        stores[1].insert_spans([row for _ in range(5) for row in workflow("acme")[2]])
        forgotten = call("forget", "--label", "customer=acme", "--url", address)
        assert "deleted 15 spans, 5 jobs with 5 attempts, 5 workflows" in forgotten.output
        for store in stores:
            assert store.query("SELECT count() FROM workflows").rows == [(10,)]
            assert store.query("SELECT count() FROM otel_traces").rows == [(30,)]
            assert not store.has_table("forget_workflows")
        refused = call("forget", "--label", "customer=acme", "--url", servers[0].database_url("otjobs_local"))
        assert "otjobs_local is one replica, and what it deletes the others delete, too" in refused.output
        refused = call("rebuild", "--url", address)
        assert "otjobs rebuild does not work on replicated tables (otjobs_local) yet" in refused.output
        # When one is killed, the database over all answers still
        servers[0].kill()
        survivor = connect(servers[1].database_url("otjobs"))
        assert survivor.query("SELECT count(), sum(jobs) FROM workflows").rows == [(10, 10)]
        assert survivor.query("SELECT sum(succeeded) FROM queue_minutes").rows == [(10,)]
        for store in (*stores, survivor):
            store.close()


def test_accounts_over_shards(tmp_path, monkeypatch):
    # Given servers that take accounts by SQL
    monkeypatch.setenv("OTJOBS_WRITER_PASSWORD", "w")
    monkeypatch.setenv("OTJOBS_READER_PASSWORD", "r")
    with clickhouses.clickhouse_cluster(tmp_path, engine="oldest") as servers:
        named = [argument for host in hosts(servers) for argument in ("--host", host)]
        address = servers[0].database_url("otjobs")
        made = call("migrate", "--roles", "--url", address, "--cluster", "pair", *named)
        assert made.exit_code == 0, made.output
        # Then the writer writes on any host, and reads nothing
        for server in servers:
            writer = connect(f"http://otjobs_writer:w@127.0.0.1:{server.http_port}/otjobs")
            writer.insert_spans([row for _ in range(10) for row in workflow()[2]])
            with pytest.raises(QueryError, match="Not enough privileges"):
                writer.query("SELECT count() FROM jobs")
            writer.close()
        # And the reader reads on any host, also one view inside another, and writes nothing
        for server in servers:
            reader = connect(f"http://otjobs_reader:r@127.0.0.1:{server.http_port}/otjobs")
            assert reader.query("SELECT count() FROM jobs").rows == [(20,)]
            assert reader.query("SELECT sum(succeeded) FROM queue_minutes").rows == [(20,)]
            inside = "SELECT count() FROM jobs WHERE workflow_id IN (SELECT workflow_id FROM workflows WHERE complete)"
            assert reader.query(inside).rows == [(20,)]
            with pytest.raises(QueryError, match="Not enough privileges|readonly"):
                reader.insert_spans(workflow()[2])
            reader.close()


def test_rebuilding_reaches_every_shard(servers, pair):
    # Given figures of which some are wrong on both shards
    first, _ = pair
    first.insert_spans([row for _ in range(20) for row in workflow()[2]])
    right = first.query("SELECT * EXCEPT labels FROM jobs ORDER BY ALL").rows
    with shards(first) as local:
        for store in local:
            store.command("TRUNCATE TABLE attempt_states")
    assert first.query("SELECT count() FROM jobs").rows == [(0,)]
    # When they are made again
    day = f"{midnight() - timedelta(hours=1):%Y-%m-%d}"
    done = call("rebuild", "--json", "--from", day, "--to", day, "--url", servers[1].database_url(first.database))
    assert done.exit_code == 0, done.output
    # Then they are right, and the counts are those of both
    assert first.query("SELECT * EXCEPT labels FROM jobs ORDER BY ALL").rows == right
    (count,) = [row for row in json.loads(done.output)["counts"] if row["table"] == "attempt_states"]
    assert (count["before"], count["after"]) == (0, 20)


def test_without_macros_replication_says_what_it_needs(clickhouse):
    store = connect(clickhouse.database_url("replicated"))
    found = Cluster("pair", "replicated", "replicated_local", tuple(hosts([clickhouse])), replicated=True)
    with pytest.raises(ConfigurationError, match="set the macros shard and replica"):
        migrate_cluster(store, found)
    store.close()


def test_moving_from_one_server(servers, pair):
    # Given a server of its own, and gateways that send to the cluster already
    first, _ = pair
    old = connect(servers[0].database_url("old"))
    migrate(old)
    sent = [workflow() for _ in range(20)]
    old.insert_spans([row for _, _, rows in sent for row in rows])
    for _, _, rows in sent[15:]:
        first.insert_spans(rows)
    # When the spans are copied as the documentation says
    text = (parts.ROOT / "docs" / "howto" / "cluster.md").read_text()
    (copy,) = [part for part in text.split("```") if part.startswith("sql\nINSERT INTO otjobs.otel_traces")]
    copy = copy.removeprefix("sql\n").replace("otjobs.otel_traces SELECT", f"{first.database}.otel_traces SELECT")
    copy = copy.replace(
        "'old-server:9000', otjobs.otel_traces, 'reader', '...'", f"'127.0.0.1:{servers[0].tcp_port}', old.otel_traces"
    )
    for day in (midnight(1), midnight()):
        first.command(copy.replace("2026-11-01", f"{day:%Y-%m-%d}"))
    # Then the figures are those of the old one
    for figure in (
        "SELECT * FROM workflows ORDER BY ALL",
        "SELECT * EXCEPT labels FROM jobs ORDER BY ALL",
        "SELECT * EXCEPT (queue_state, run_state, oldest_wait_seconds) FROM queue_minutes ORDER BY ALL",
    ):
        assert first.query(figure).rows == old.query(figure).rows
    assert first.query("SELECT count() FROM workflows").rows == [(20,)]
    old.close()
