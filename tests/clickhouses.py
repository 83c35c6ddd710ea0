"""ClickHouse servers for tests, alone and as shards, and what tests do to a database of otjobs."""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import parts

from otjobs.backend.store import connect
from otjobs.backend.store.cluster import find_cluster, migrate_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from otjobs.backend.store import Store

ENGINE = os.environ.get("OTJOBS_TEST_ENGINE", "newest")
"""The ClickHouse that tests use: `newest`, or `oldest`."""


@dataclass
class ClickHouse:
    """A real ClickHouse server on loopback."""

    http_port: int
    tcp_port: int
    folder: Path
    process: parts.Process | None = None
    config: Path | None = None
    engine: str = ENGINE

    @property
    def url(self) -> str:
        """The server's URL without a database; `database_url` has one."""
        return f"http://default:@127.0.0.1:{self.http_port}"

    def database_url(self, database: str) -> str:
        return f"{self.url}/{database}"

    def query(self, sql: str, *, data: bytes = b"") -> str:
        """Run one statement over HTTP and return the text of the answer; raise RuntimeError with the server's message."""
        from urllib.parse import quote

        url = f"http://127.0.0.1:{self.http_port}/"
        request = urllib.request.Request(
            f"{url}?query={quote(sql)}" if data else url, data=data or sql.encode(), method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as problem:
            raise RuntimeError(problem.read().decode(errors="replace")) from None

    def start(self) -> None:
        command: list[str | Path] = [
            sys.executable,
            parts.TOOLS / "clickhouse_server.py",
            "--http-port",
            str(self.http_port),
            "--tcp-port",
            str(self.tcp_port),
        ]
        command += ["--data", self.folder / "data", "--with-parent", "--engine", self.engine]
        if self.config:
            command += ["--config", self.config]
        self.folder.mkdir(parents=True, exist_ok=True)
        self.process = parts.Process(command, log=self.folder / "server.log")
        self.process.wait_ready(
            lambda: parts.http_ok(f"http://127.0.0.1:{self.http_port}/ping"), seconds=60, what="ClickHouse"
        )

    def kill(self) -> None:
        if self.process:
            self.process.kill()

    def stop(self) -> None:
        if self.process:
            self.process.stop()


@contextmanager
def clickhouse_server(folder: Path, *, config: Path | None = None, engine: str = ENGINE) -> Iterator[ClickHouse]:
    """Run a real ClickHouse server on free ports with its data below `folder`; `engine` is of tools/clickhouse.py."""
    parts.require("clickhouse" if engine == "newest" else f"clickhouse-{engine}")
    server = ClickHouse(
        http_port=parts.free_port(), tcp_port=parts.free_port(), folder=folder, config=config, engine=engine
    )
    try:
        server.start()
        yield server
    finally:
        server.stop()


@contextmanager
def clickhouse_cluster(
    folder: Path, *, shards: int = 2, replicas: int = 1, zookeeper_port: int = 0, engine: str = ENGINE
) -> Iterator[list[ClickHouse]]:
    """Run ClickHouse servers that are the shards, and their replicas, of the cluster `pair`."""
    parts.require("clickhouse" if engine == "newest" else f"clickhouse-{engine}")
    servers = [
        [
            ClickHouse(parts.free_port(), parts.free_port(), folder / f"shard{shard}-{replica}", engine=engine)
            for replica in range(1, replicas + 1)
        ]
        for shard in range(1, shards + 1)
    ]
    hosts = "".join(
        "<shard><internal_replication>true</internal_replication>"
        + "".join(f"<replica><host>127.0.0.1</host><port>{server.tcp_port}</port></replica>" for server in shard)
        + "</shard>"
        for shard in servers
    )
    keeper = f"<zookeeper><node><host>127.0.0.1</host><port>{zookeeper_port}</port></node></zookeeper>"
    everyone = [server for shard in servers for server in shard]
    for server in everyone:
        shard, replica = server.folder.name.removeprefix("shard").split("-")
        server.folder.mkdir(parents=True)
        server.config = server.folder / "config.xml"
        server.config.write_text(
            f"<clickhouse><remote_servers><pair>{hosts}</pair></remote_servers>"
            f"<macros><shard>{shard}</shard><replica>{replica}</replica></macros>{keeper if zookeeper_port else ''}"
            f"<interserver_http_host>127.0.0.1</interserver_http_host>"
            f"<interserver_http_port>{parts.free_port()}</interserver_http_port></clickhouse>"
        )
    try:
        for server in everyone:
            server.start()
        yield everyone
    finally:
        for server in everyone:
            server.stop()


def hosts(servers: Sequence[ClickHouse]) -> list[str]:
    """Return the servers as `otjobs migrate --host` takes them."""
    return [f"127.0.0.1:{server.http_port}" for server in servers]


def over_shards(servers: Sequence[ClickHouse], database: str) -> list[Store]:
    """Make a database over the shards of `pair`, and return it as each server gives it."""
    first = connect(servers[0].database_url(database))
    migrate_cluster(first, find_cluster(first, "pair", hosts(servers)))
    return [first, *(connect(server.database_url(database)) for server in servers[1:])]


def drop_databases(server: ClickHouse) -> None:
    """Drop every database that is not the server's own."""
    own = "('default', 'system', 'information_schema', 'INFORMATION_SCHEMA')"
    for name in server.query(f"SELECT name FROM system.databases WHERE name NOT IN {own}").split():
        server.query(f"DROP DATABASE {name} SYNC")


def empty(store: Store) -> None:
    """Empty every table of a database of otjobs but its migrations and settings; stored rows under way are given up."""
    mine = {"name": store.database}
    views = store.query("SELECT view FROM system.view_refreshes WHERE database = {name:String}", mine).rows
    for (view,) in views:
        store.command(f"SYSTEM STOP VIEW {view}")
        store.command(f"SYSTEM CANCEL VIEW {view}")
    tables = store.query(
        "SELECT name FROM system.tables WHERE database = {name:String} AND engine LIKE '%MergeTree' "
        "AND name NOT IN ('otjobs_migrations', 'otjobs_settings') AND name NOT LIKE '.inner%'",
        mine,
    ).rows
    for (table,) in tables:
        store.command(f"TRUNCATE TABLE {table}")
    for (view,) in views:
        store.command(f"SYSTEM START VIEW {view}")


def mend(store: Store) -> None:
    """Bring jobs that are under two keys under one, as happens every half minute."""
    for _ in range(2):  # one may be under way
        store.command("SYSTEM REFRESH VIEW one_row_mv")
        store.command("SYSTEM WAIT VIEW one_row_mv")


def age(store: Store) -> None:
    """Let three minutes pass since everything arrived and was last stored, and the stored rows be made anew."""
    mine = {"name": store.database}
    views = [
        view
        for (view,) in store.query("SELECT view FROM system.view_refreshes WHERE database = {name:String}", mine).rows
    ]
    assert views, "nothing makes stored rows here"
    for view in views:
        store.command(f"SYSTEM STOP VIEW {view}")
    columns: dict[str, list[str]] = {}
    for table, column in store.query(
        "SELECT table, name FROM system.columns WHERE database = {name:String} AND name IN ('arrived', 'through', 'computed_at') "
        "AND table IN (SELECT name FROM system.tables WHERE database = {name:String} AND engine LIKE '%MergeTree')",
        mine,
    ).rows:
        columns.setdefault(table, []).append(column)
    for table, names in columns.items():
        earlier = ", ".join(f"{name} - toIntervalSecond(180) AS {name}" for name in names)
        store.command(f"CREATE TABLE aged AS {table}")
        store.command(f"INSERT INTO aged SELECT * REPLACE ({earlier}) FROM {table}")
        store.command(f"TRUNCATE TABLE {table}")
        store.command(f"INSERT INTO {table} SELECT * FROM aged")
        store.command("DROP TABLE aged SYNC")
    for view in views:
        store.command(f"SYSTEM START VIEW {view}")
        for _ in range(2):  # one may be under way
            store.command(f"SYSTEM REFRESH VIEW {view}")
            store.command(f"SYSTEM WAIT VIEW {view}")
