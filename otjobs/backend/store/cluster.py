"""Several servers: on each shard a whole database, and one database over all of them (`otjobs/backend/sql/cluster`)."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from otjobs.backend.store.migrate import Layout, applied, apply, migrations, prepare, refuse_newer
from otjobs.backend.store.settings import set_setting, settings
from otjobs.backend.store.sql_files import read, render, statements
from otjobs.errors import ConfigurationError, QueryError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from otjobs.backend.store.client import Store

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_\-.]{0,63}")
_VIEW: Final = re.compile(r"^-- view (\w+)$", re.MULTILINE)
_SETTING: Final = "cluster"


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where the shards are; kept by every host in `otjobs_settings`.

    Attributes:
        name: of the cluster in the servers' `remote_servers`.
        database: the one over all shards, which services and readers use.
        local: the one that every host has.
        hosts: `host` or `host:port` of HTTP, one for each shard and replica; the port of the given address by default.
        replicated: the tables of a shard are replicated by ClickHouse.
    """

    name: str
    database: str
    local: str
    hosts: tuple[str, ...]
    replicated: bool = False


def local_name(database: str) -> str:
    """Return the name of the database that every host has."""
    return f"{database}_local"


def find_cluster(store: Store, name: str, hosts: Sequence[str] = (), *, replicated: bool = False) -> Cluster:
    """Return the cluster of that name as the server knows it.

    Args:
        store: a database on one of its servers.
        name: its name in `remote_servers`.
        hosts: `host` or `host:port` of each server; by default as the cluster names them.
        replicated: the tables of a shard are to be replicated.

    Raises:
        ConfigurationError: the server knows none of that name, and the message lists those it knows; or `hosts` are not
            as many as the cluster has.
    """
    if not _NAME.fullmatch(name):
        raise ConfigurationError(f"{name!r} is no name of a cluster")
    found = [row[0] for row in store.query(store.sql("cluster", "hosts"), {"cluster": name}).rows]
    if not found:
        known = ", ".join(row[0] for row in store.query(store.sql("cluster", "clusters")).rows) or "none"
        raise ConfigurationError(
            f"the server at {store.url} knows no cluster {name}; it knows: {known}; clusters are made in its "
            "configuration, under remote_servers"
        )
    named = tuple(dict.fromkeys(hosts or found))
    if len(named) != len(found):
        raise ConfigurationError(
            f"the cluster {name} has {len(found)} servers, shards and replicas together, and these are {len(named)}: "
            f"{', '.join(named)}; name each of them once, with --host HOST:PORT"
        )
    kept = cluster_of(store)
    if kept and replicated and not kept.replicated:
        raise ConfigurationError(
            f"the tables of {kept.local} are not replicated and cannot become so; give a new database in --url"
        )
    database = kept.database if kept else store.database
    return Cluster(name, database, local_name(database), named, replicated or bool(kept and kept.replicated))


def cluster_of(store: Store) -> Cluster | None:
    """Return the cluster that this database is part of, or None."""
    if not store.has_table("otjobs_settings"):
        return None
    text = settings(store).get(_SETTING)
    if not text:
        return None
    kept: dict[str, Any] = json.loads(text)
    return Cluster(**{**kept, "hosts": tuple(kept["hosts"])})


@contextmanager
def shards(store: Store) -> Iterator[list[Store]]:
    """Give the databases that hold the rows: this one, or where it is one over shards, that of every host.

    Raises:
        StoreUnreachableError: a host does not answer.
    """
    cluster = cluster_of(store)
    if cluster is None or store.database == cluster.local:
        yield [store]
        return
    with ExitStack() as stack:
        yield [stack.enter_context(closing(store.on_host(host, cluster.local))) for host in cluster.hosts]


def first_replicas(databases: Sequence[Store]) -> list[Store]:
    """Return the first of those databases on each shard, as their servers' macros name it."""
    found: dict[str, Store] = {}
    for database in databases:
        shard = str(database.query(database.sql("cluster", "macros")).rows[0][0])
        found.setdefault(shard, database)
    return list(found.values())


@contextmanager
def databases(store: Store) -> Iterator[list[Store]]:
    """Give the databases that accounts need rights in: this one, or where it is one over shards, both of every host."""
    cluster = cluster_of(store)
    if cluster is None:
        yield [store]
        return
    with ExitStack() as stack:
        names = (cluster.database, cluster.local)
        yield [stack.enter_context(closing(store.on_host(host, name))) for host in cluster.hosts for name in names]


def refuse_replicated(store: Store, what: str) -> None:
    """Refuse what has not been made to work where tables are replicated.

    Raises:
        ConfigurationError: they are; the message says what can be done instead.
    """
    cluster = cluster_of(store)
    if cluster and cluster.replicated:
        raise ConfigurationError(
            f"otjobs {what} does not work on replicated tables ({cluster.local}) yet; "
            "docs/howto/cluster.md says what does"
        )


def migrate_cluster(store: Store, cluster: Cluster, *, definer: str = "CURRENT_USER") -> list[int]:
    """Bring all hosts of a cluster to this version's schema; a second call changes nothing.

    Args:
        store: a database on one of the hosts.
        cluster: of `find_cluster` or `cluster_of`.
        definer: the permanent account whose rights the views run with; every host has it.

    Returns:
        The versions applied now, on any host.

    Raises:
        ConfigurationError: the database has tables of its own, so it is that of one server.
        NewerSchemaError: a newer otjobs has migrated a host.
        StoreUnreachableError: a host does not answer.
        QueryError: the account lacks a right, or a server refuses a statement.
    """
    names = {"database": cluster.database, "local": cluster.local, "cluster": cluster.name, "definer": definer}
    layout = Layout(definer, everywhere=cluster.database, sharded=True, replicated=cluster.replicated)
    done = set()
    with ExitStack() as stack:
        hosts = [stack.enter_context(closing(store.on_host(host, cluster.local))) for host in cluster.hosts]
        for host in hosts:
            _refuse_one_server(host, cluster)
            if cluster.replicated:
                _needs_macros(host)
            refuse_newer(host)
            _run(host, read("cluster", "first"), names)
            prepare(host)
        have = [applied(host) for host in hosts]
        # One version on all hosts before the next: its views may read all shards.
        for version, name, script in migrations():
            for host, versions in zip(hosts, have, strict=True):
                if version not in versions:
                    apply(host, version, name, script, layout)
                    done.add(version)
        for host in hosts:
            if cluster_of(host) != cluster:
                set_setting(host, _SETTING, json.dumps(asdict(cluster)))
            script = read("cluster", "tables")
            _run(host, _VIEW.sub(lambda match: _definition(match[1]) + ";", script), names, sharded="1")
    store._use()  # noqa: SLF001  (the database may be new)
    return sorted(done)


def _definition(view: str) -> str:
    """Return the newest statement that makes a view."""
    made = re.compile(rf"\bVIEW (?:IF NOT EXISTS )?\{{database\}}\.{view}\s")
    return [sql for _, _, script in migrations() for sql in statements(script) if made.search(sql)][-1]


def _run(host: Store, script: str, names: dict[str, str], **more: str) -> None:
    for sql in statements(render(script, **names, **more)):
        host.command(sql)


def _refuse_one_server(host: Store, cluster: Cluster) -> None:
    there = host.query(host.sql("cluster", "engine"), {"database": cluster.database}).rows
    if there and there[0][0] != "Distributed":
        raise ConfigurationError(
            f"the database {cluster.database} at {host.url} holds spans itself, so it cannot be one over shards; give "
            "another database in --url, and move what is stored as docs/howto/cluster.md says"
        )


def _needs_macros(host: Store) -> None:
    try:
        host.query(host.sql("cluster", "macros"))
    except QueryError as error:
        raise ConfigurationError(
            f"the server at {host.url} does not say which shard and replica it is: {error}; "
            "set the macros shard and replica in its configuration"
        ) from error
