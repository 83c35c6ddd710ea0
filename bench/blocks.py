"""Spans made by SQL in a ClickHouse server, and inserted a block at a time as the collector does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from otjobs.backend.store import connect
from otjobs.backend.store.sql_files import render

if TYPE_CHECKING:
    import clickhouses

    from otjobs.backend.store import Store

SQL = Path(__file__).resolve().parent / "sql"


def text(name: str, **names: str) -> str:
    """Return a file of `bench/sql`, filled."""
    return render((SQL / f"{name}.sql").read_text(), **names)


class Blocks:
    """A database with the exporter's own table, and beside it the block that is inserted next."""

    def __init__(self, server: clickhouses.ClickHouse, database: str) -> None:
        self.server, self.database = server, database
        server.query(f"CREATE DATABASE {database}")
        for name in ("exporter", "make_block"):
            server.query(text(name, database=database))
        self.store: Store = connect(server.database_url(database))

    def make(self, spans: str, given: dict[str, int]) -> int:
        """Make the spans of the next insert from `bench/sql/{spans}.sql`, and say how many."""
        self.server.query(f"TRUNCATE TABLE {self.database}.block")
        self.store.command(text("block", database=self.database, spans=text(spans)), given)
        return int(self.server.query(f"SELECT count() FROM {self.database}.block"))

    def insert(self, database: str) -> None:
        """Insert them into a database."""
        self.store.command(text("insert", database=database, blocks=self.database))
