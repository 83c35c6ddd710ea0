"""The one client for a ClickHouse server, the embedded server and a chDB folder."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from otjobs.backend.store import token
from otjobs.backend.store.address import Address, checked, public, read
from otjobs.backend.store.folder_owner import other_owner
from otjobs.backend.store.landing import COLUMNS
from otjobs.backend.store.refusals import connection_error, query_error, unreachable
from otjobs.backend.store.sql_files import named_query, part, render, statements
from otjobs.backend.store.sql_files import read as read_sql
from otjobs.errors import MissingExtraError, QueryError, StoreUnreachableError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_THIS_MACHINE: Final = ("127.0.0.1", "::1", "localhost")
# A batch may hold spans of any days; a refused batch would come back forever.
# Of a database over shards: stored is what the shards have.
_INSERT_SETTINGS: Final = {"max_partitions_per_insert_block": 0, "async_insert": 0, "distributed_foreground_insert": 1}


@dataclass(frozen=True, slots=True)
class Result:
    """The rows of a query, in order, and the names of its columns."""

    column_names: list[str]
    rows: list[tuple[Any, ...]]

    def dicts(self) -> list[dict[str, Any]]:
        """Return the rows as dicts by column name."""
        return [dict(zip(self.column_names, row, strict=True)) for row in self.rows]


class Store:
    """A database of otjobs; `connect` makes one. Safe to use from several threads."""

    def __init__(self, client: Any, database: str, url: str, *, embedded: bool) -> None:
        self._client = client
        self._address = url
        self._lock = threading.RLock()
        self.database = database
        self.url = public(url)
        self.embedded = embedded
        self._use()

    def _use(self) -> None:
        """Make the database current once it exists."""
        if self.database and self.exists():
            self._client.database = self.database
            if self.embedded:
                self.command(self.sql("store", "use_database"))

    def on_host(self, host: str, database: str) -> Store:
        """Open a database of another server as the same account.

        Args:
            host: `host` or `host:port`; the port is this server's by default.
            database: its name.

        Raises:
            StoreUnreachableError: nobody answers there.
        """
        return connect(read(self._address).at(host, database))

    def sql(self, folder: str, name: str, /, **names: str) -> str:
        """Return the text of `otjobs/backend/sql/{folder}/{name}.sql`, filled in for this database."""
        return render(read_sql(folder, name), database=self.database, **names)

    def part(self, name: str, /, **names: str) -> str:
        """Return a piece of SQL, `otjobs/backend/sql/parts/{name}.sql`, filled in for this database."""
        return render(part(name), database=self.database, **names)

    def run(self, folder: str, name: str, /, **names: str) -> None:
        """Run every statement of `otjobs/backend/sql/{folder}/{name}.sql`; raises like `query`."""
        for statement in statements(self.sql(folder, name, **names)):
            self.command(statement)

    def exists(self) -> bool:
        """Tell whether the database is there at all."""
        sql = self.sql("store", "database_exists")
        return bool(self.query(sql, {"name": self.database}).rows[0][0])

    def has_table(self, name: str) -> bool:
        """Tell whether the database has a table or view of that name."""
        sql = self.sql("store", "table_exists")
        return bool(self.query(sql, {"name": self.database, "table": name}).rows[0][0])

    def query(self, sql: str, params: Mapping[str, Any] | None = None) -> Result:
        """Run a query; parameters are ClickHouse's own, `{name:Type}`.

        Raises:
            QueryError: the database refused it.
            StoreUnreachableError: nobody answered.
        """
        with self._lock:
            found = self._call(lambda: self._client.query(sql, parameters=dict(params) if params else None))
        return Result(list(found.column_names), [tuple(row) for row in found.result_rows])

    def command(self, sql: str, params: Mapping[str, Any] | None = None) -> None:
        """Run a statement without a result; raises like `query`."""
        with self._lock:
            self._call(lambda: self._client.command(sql, parameters=dict(params) if params else None))

    def insert_spans(self, rows: Sequence[Sequence[Any]]) -> None:
        """Append spans to the landing table: rows of the 22 `COLUMNS`; raises like `query`."""
        with self._lock:
            self._call(
                lambda: self._client.insert(
                    "otel_traces", rows, column_names=list(COLUMNS), database=self.database, settings=_INSERT_SETTINGS
                )
            )

    def named(self, name: str, **params: Any) -> Result:
        """Run a query of `otjobs/backend/sql/queries`; parameters left out take their defaults.

        Raises:
            QueryError: no such query or parameter, or the database refused it.
        """
        found = named_query(name)
        unknown = set(params) - set(found.types)
        if unknown:
            known = ", ".join(sorted(found.types)) or "none"
            raise QueryError(f"query {name!r} has no parameter {', '.join(sorted(unknown))}; it has: {known}")
        for key, value in params.items():
            if value and (choices := found.choices(key)) and value not in choices:
                raise QueryError(f"{key} of query {name!r} cannot be {value!r}; it is one of: {', '.join(choices)}")
        return self.query(found.sql, {**found.defaults, **params})

    def close(self) -> None:
        """Close the connection; a chDB folder is given back when its last client is closed."""
        with self._lock:
            self._client.close()

    def _call(self, run: Any) -> Any:
        from clickhouse_connect.driver.exceptions import ClickHouseError, OperationalError

        try:
            return run()
        except OperationalError as error:
            raise unreachable(error, self.url) from error
        except (ClickHouseError, RuntimeError) as error:  # chDB's own are of the second kind
            raise query_error(error, self.url) from error


def connect(url: str) -> Store:
    """Open a database.

    Args:
        url: `http(s)://user:password@host:port/database` or `chdb:///folder`; the database is `otjobs` by default.

    Raises:
        ConfigurationError: the address cannot be read.
        MissingExtraError: clickhouse-connect or chdb is not installed.
        StoreUnreachableError: nobody answers there, or another process holds the folder.
    """
    try:
        import clickhouse_connect
        from clickhouse_connect.driver.exceptions import ClickHouseError
    except ImportError:
        raise MissingExtraError("clickhouse-connect", "store") from None
    parts = checked(url)
    options = _options_of_a_folder(parts) if parts.scheme == "chdb" else _options_of_a_server(parts)
    try:
        client = clickhouse_connect.get_client(**options, tz_mode="aware")
    except (ClickHouseError, RuntimeError) as error:
        raise connection_error(error, public(url)) from error
    return Store(client, parts.database, url, embedded=parts.scheme == "chdb")


def _options_of_a_server(parts: Address) -> dict[str, Any]:
    port = parts.port or (8443 if parts.scheme == "https" else 8123)
    # This user's own embedded server: its commands may write.
    own_token = token.known(port) if not parts.user and parts.host in _THIS_MACHINE else ""
    return {
        "interface": parts.scheme,
        "host": parts.host,
        "port": port,
        "username": parts.user or (token.OWNER if own_token else "default"),
        "password": parts.password or own_token,
        "autogenerate_session_id": False,
    }


def _options_of_a_folder(parts: Address) -> dict[str, Any]:
    try:
        import chdb  # noqa: F401
    except ImportError:
        raise MissingExtraError("chdb", "embedded") from None
    if owner := other_owner(Path(parts.folder)):
        raise StoreUnreachableError(
            f"cannot open chdb://{parts.folder}: {owner} has it open; if that is `otjobs up`, ask its SQL port instead"
        )
    return {"interface": "chdb", "path": parts.folder}
