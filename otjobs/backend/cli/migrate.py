"""`otjobs migrate`: tables and views of this version, how long they are kept, and who may use them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from otjobs.backend.cli import accounts
from otjobs.backend.cli.frame import json_option, opened, url_option
from otjobs.backend.cli.screen import Column, Screen, say, say_document
from otjobs.backend.store.cluster import Cluster, cluster_of, find_cluster, migrate_cluster, shards
from otjobs.backend.store.migrate import applied, migrations
from otjobs.backend.store.migrate import migrate as bring_up
from otjobs.backend.store.retention import LAYERS, days, horizons, keep, retention
from otjobs.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from otjobs.backend.store import Store

_KEPT = (Column("layer", "LAYER"), Column("keep", "KEPT"), Column("since", "ALL THERE SINCE"))
_WHAT = {
    "spans": "Spans, as they arrived",
    "jobs": "Jobs and attempts",
    "workflows": "Rows of workflows, which stay as they were once their jobs go",
    "minutes": "Minute tables, which stay as they were once their jobs go",
}


def _keep_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for layer in reversed(LAYERS):
        text = f"{_WHAT[layer]}: how long to keep them, like 14d, 8w, 2y or forever."
        command = click.option(f"--keep-{layer}", metavar="TIME", help=text)(command)
    return command


def _schema_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(
        (
            click.option(
                "--definer",
                default="CURRENT_USER",
                show_default=True,
                metavar="ACCOUNT",
                help="The permanent account with whose rights the views run.",
            ),
            click.option(
                "--cluster",
                metavar="NAME",
                help="Make it on every host of this cluster of the server's remote_servers.",
            ),
            click.option(
                "--host",
                "hosts",
                metavar="HOST[:PORT]",
                multiple=True,
                help="A host of the cluster and its HTTP port; once for each shard and replica. Default: the cluster's "
                "hosts, with the port of --url.",
            ),
            click.option(
                "--replicated", is_flag=True, help="Replicate the tables of a shard, by the macros shard and replica."
            ),
        )
    ):
        command = option(command)
    return command


@click.command()
@_schema_options
@_keep_options
@click.option("--show", is_flag=True, help="Change nothing; show the version and how long everything is kept.")
@accounts.account_options
@json_option
@url_option
def migrate(
    definer: str,
    cluster: str | None,
    hosts: tuple[str, ...],
    replicated: bool,
    show: bool,
    roles: bool,
    writer_password_env: str,
    reader_password_env: str,
    roles_xml: Path | None,
    as_json: bool,
    **kept: str | None,
) -> None:
    """Make or update the tables and views.

    Also sets how long everything is kept, and who may use it.

    A second call changes nothing. The database is made if it is not there. One that a newer otjobs has migrated is
    refused. `otjobs up` does this by itself. What is not named keeps its retention.

    Example:
      otjobs migrate --url http://default:secret@clickhouse:8123/otjobs
      otjobs migrate --keep-spans 14d --keep-jobs 90d --keep-minutes 2y
      otjobs migrate --show
      otjobs migrate --cluster jobs --url http://default:secret@shard1:8123/otjobs
      OTJOBS_WRITER_PASSWORD=... OTJOBS_READER_PASSWORD=... otjobs migrate --roles
      otjobs migrate --roles-xml /etc/clickhouse-server/users.d/otjobs.xml
    """
    variables = {"writer": writer_password_env, "reader": reader_password_env}
    if roles_xml is not None:
        accounts.write(roles_xml, variables, over_shards=bool(cluster))
        if not as_json:
            say(f"wrote {roles_xml}; the server reads the passwords from its environment")
        return
    if (hosts or replicated) and not cluster:
        raise ConfigurationError("--host and --replicated are about a cluster; name it with --cluster")
    wanted = {layer: days(text) for layer in LAYERS if (text := kept[f"keep_{layer}"]) is not None}
    secrets = accounts.passwords(variables) if roles else {}
    with opened(needs_schema=show) as store:
        if show:
            _show(store, as_json=as_json)
            return
        where = find_cluster(store, cluster, hosts, replicated=replicated) if cluster else cluster_of(store)
        done = _migrate(store, where, definer, wanted)
        accounts.make(store, secrets)
        if as_json:
            found = {"database": store.database, "applied": done.versions, "version": done.version}
            say_document({**found, "keep_days": retention(store)})
        else:
            _tell(store, where, done, secrets)


@dataclass(frozen=True, slots=True)
class _Done:
    """What was changed: the versions applied, the layers with a new length, and the version that it has now."""

    versions: list[int]
    layers: dict[str, int]
    version: int


def _migrate(store: Store, where: Cluster | None, definer: str, wanted: dict[str, int]) -> _Done:
    versions = migrate_cluster(store, where, definer=definer) if where else bring_up(store, definer=definer)
    with shards(store) as each:
        changes = [keep(database, wanted, again=bool(versions)) for database in each]
    layers = {layer: length for change in changes for layer, length in change.items()}
    return _Done(versions, layers, max(applied(store), default=0))


def _tell(store: Store, where: Cluster | None, done: _Done, roles: Iterable[str]) -> None:
    names = {version: name for version, name, _ in migrations()}
    for version in done.versions:
        say(f"applied {version:03d} {names[version]}")
    for layer, length in done.layers.items():
        say(f"keeps {layer} {_length(length)}")
    for role in roles:
        say(f"account otjobs_{role} is ready")
    if where:
        say(f"over the shards of {where.name}: {where.local} at {', '.join(where.hosts)}")
    state = "is now" if done.versions else "was already"
    say(f"database {store.database} at {store.url} {state} at schema version {done.version}")


def _length(length: int) -> str:
    return f"for {length} days" if length else "for ever"


def _show(store: Store, *, as_json: bool) -> None:
    kept, since = retention(store), horizons(store)
    starts = {"spans": since.spans_kept_from, "jobs": since.jobs_kept_from}
    version = max(applied(store), default=0)
    if as_json:
        say_document({"database": store.database, "version": version, "keep_days": kept, "kept_from": starts})
        return
    say(f"database {store.database} at {store.url}, schema version {version}")
    rows = [
        {
            "layer": layer,
            "keep": _length(length),
            "since": f"{starts[layer]:%Y-%m-%d}" if layer in starts and starts[layer].year > 1970 else "",
        }
        for layer, length in kept.items()
    ]
    Screen().table(_KEPT, rows)


COMMANDS = (migrate,)
