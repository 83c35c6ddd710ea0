"""Numbered, idempotent migrations: `otjobs/sql/schema/NNN_name.sql`, applied once each, in order."""

from __future__ import annotations

import re
from importlib import resources
from typing import TYPE_CHECKING, Final

from otjobs.errors import ConfigurationError, NewerSchemaError
from otjobs.store.derive import backfill
from otjobs.store.text import fill, split, statement

if TYPE_CHECKING:
    from otjobs.store.client import Store

_FILE: Final = re.compile(r"(\d{3})_(\w+)\.sql")
_ACCOUNT: Final = re.compile(r"CURRENT_USER|[A-Za-z_][A-Za-z0-9_]{0,63}")


def migrations() -> list[tuple[int, str, str]]:
    """Return (version, name, script) of every migration, in order."""
    folder = resources.files("otjobs") / "sql" / "schema"
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
    return [int(row[0]) for row in store.query(fill(statement("store", "versions"), database=store.database)).rows]


def migrate(store: Store, *, definer: str = "CURRENT_USER") -> list[int]:
    """Bring a database to this version's schema; a second call changes nothing.

    Args:
        store: the database; it is made if it is not there.
        definer: the permanent account whose rights the views run with.

    Returns:
        The versions applied now.

    Raises:
        NewerSchemaError: a newer otjobs has migrated the database.
        QueryError: the account lacks a right, or the server refuses a statement.
    """
    if not _ACCOUNT.fullmatch(definer):
        raise ConfigurationError(f"{definer!r} is no account name")
    refuse_newer(store)
    have = applied(store)
    store.command(fill(statement("store", "create_database"), database=store.database))
    store.command(fill(statement("store", "create_versions"), database=store.database))
    store._use()  # noqa: SLF001  (the database may be new)
    done = []
    for version, name, script in migrations():
        if version in have:
            continue
        apply(store, version, name, script, definer=definer)
        done.append(version)
    return done


def apply(store: Store, version: int, name: str, script: str, *, definer: str = "CURRENT_USER") -> None:
    """Apply one migration; doing it again, or twice at once, changes nothing."""
    for sql in split(script):
        store.command(fill(sql, database=store.database, definer=definer, everywhere=store.database, sharded="0"))
    backfill(store, script)
    added = statement("store", "add_version")
    store.command(fill(added, database=store.database, version=str(version), name=name))


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
