"""Numbered, idempotent migrations: `otjobs/backend/sql/schema/NNN_name.sql`, applied once each, in order."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Final

from otjobs.backend.store.derive import backfill
from otjobs.backend.store.sql_files import render, statements
from otjobs.errors import ConfigurationError, NewerSchemaError, StoreError

if TYPE_CHECKING:
    from otjobs.backend.store.client import Store

OLDEST_SERVER: Final = (25, 8)
"""The oldest version of ClickHouse that the schema is for."""

_FILE: Final = re.compile(r"(\d{3})_(\w+)\.sql")
_ENGINE: Final = re.compile(
    r"(CREATE TABLE IF NOT EXISTS (\w+)\.(\w+)\s.*?ENGINE = )(\w*)MergeTree(?:\(([^)]*)\))?", re.DOTALL
)
_ACCOUNT: Final = re.compile(r"CURRENT_USER|[A-Za-z_][A-Za-z0-9_]{0,63}")


@dataclass(frozen=True, slots=True)
class Layout:
    """How tables lie, on one server by default or on shards, and whose they are.

    Attributes:
        definer: the permanent account whose rights the views run with.
        everywhere: the database over all shards; '' is the database itself.
        sharded: there are other shards, so figures must come in a form that can be put together.
        replicated: tables are replicated by ClickHouse, in its usual place, by the macros shard and replica.
    """

    definer: str = "CURRENT_USER"
    everywhere: str = ""
    sharded: bool = False
    replicated: bool = False

    def __post_init__(self) -> None:
        """Refuse what is no name of an account."""
        if not _ACCOUNT.fullmatch(self.definer):
            raise ConfigurationError(f"{self.definer!r} is no account name")


def migrations() -> list[tuple[int, str, str]]:
    """Return (version, name, script) of every migration, in order."""
    folder = resources.files("otjobs.backend") / "sql" / "schema"
    found = []
    for entry in folder.iterdir():
        match = _FILE.fullmatch(entry.name)
        if match:
            found.append((int(match[1]), match[2], entry.read_text(encoding="utf-8")))
    return sorted(found)


def applied(store: Store) -> list[int]:
    """Return the versions the database has."""
    if not store.has_table("otjobs_migrations"):
        return []
    return [int(row[0]) for row in store.query(store.sql("migrate", "versions")).rows]


def migrate(store: Store, *, definer: str = "CURRENT_USER") -> list[int]:
    """Bring a database to this version's schema; a second call changes nothing.

    Args:
        store: the database; it is made if it is not there.
        definer: the permanent account whose rights the views run with.

    Returns:
        The versions applied now.

    Raises:
        NewerSchemaError: a newer otjobs has migrated the database.
        StoreError: the server is too old.
        QueryError: the account lacks a right, or the server refuses a statement.
    """
    layout = Layout(definer)
    refuse_newer(store)
    have = applied(store)
    prepare(store)
    done = []
    for version, name, script in migrations():
        if version in have:
            continue
        apply(store, version, name, script, layout)
        done.append(version)
    return done


def prepare(store: Store) -> None:
    """Make the database and the table of versions, if they are not there.

    Raises:
        StoreError: the server is too old.
    """
    version = str(store.query(store.sql("migrate", "server_version")).rows[0][0])
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_SERVER:
        oldest = ".".join(map(str, OLDEST_SERVER))
        raise StoreError(
            f"the server at {store.url} is ClickHouse {version}; otjobs needs {oldest} or newer: upgrade it"
        )
    store.command(store.sql("migrate", "create_database"))
    store.command(store.sql("migrate", "create_versions"))
    store._use()  # noqa: SLF001  (the database may be new)


def apply(store: Store, version: int, name: str, script: str, layout: Layout) -> None:
    """Apply one migration; doing it again, or twice at once, changes nothing."""
    names = {
        "database": store.database,
        "definer": layout.definer,
        "everywhere": layout.everywhere or store.database,
        "sharded": str(int(layout.sharded)),
    }
    for sql in statements(script):
        filled = render(sql, **names)
        store.command(_replicated(filled) if layout.replicated else filled)
    backfill(store, script)
    store.command(store.sql("migrate", "add_version", version=str(version), name=name))


def _replicated(sql: str) -> str:
    """Return a statement whose table, if it makes one, is replicated."""

    def engine(match: re.Match[str]) -> str:
        start, database, table, kind, arguments = match.groups()
        place = f"'/clickhouse/tables/{{shard}}/{database}/{table}', '{{replica}}'"
        return f"{start}Replicated{kind}MergeTree({place}{', ' + arguments if arguments else ''})"

    return _ENGINE.sub(engine, sql)


def refuse_newer(store: Store) -> None:
    """Refuse a database whose schema this otjobs does not know.

    Raises:
        NewerSchemaError: a newer otjobs has migrated it.
    """
    have = max(applied(store), default=0)
    newest = max(version for version, _, _ in migrations())
    if have > newest:
        raise NewerSchemaError(
            f"the database {store.database} has schema version {have}, this otjobs knows {newest}; "
            "upgrade with: pip install --upgrade otjobs"
        )
