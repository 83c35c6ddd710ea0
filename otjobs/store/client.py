"""The one client for a ClickHouse server, the embedded server and a chDB folder."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit, urlunsplit

from otjobs.errors import ConfigurationError, MissingExtraError, QueryError, StoreUnreachableError
from otjobs.store import token
from otjobs.store.text import named_query, statement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DATABASE: Final = "otjobs"
COLUMNS: Final = (
    "Timestamp",
    "TraceId",
    "SpanId",
    "ParentSpanId",
    "TraceState",
    "SpanName",
    "SpanKind",
    "ServiceName",
    "ResourceAttributes",
    "ScopeName",
    "ScopeVersion",
    "SpanAttributes",
    "Duration",
    "StatusCode",
    "StatusMessage",
    "Events.Timestamp",
    "Events.Name",
    "Events.Attributes",
    "Links.TraceId",
    "Links.SpanId",
    "Links.TraceState",
    "Links.Attributes",
)
"""The columns of the landing table, in the order of the collector's ClickHouse exporter."""

_THIS_MACHINE: Final = ("127.0.0.1", "::1", "localhost")
_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
# A batch may hold spans of any days; a refused batch would come back forever.
# Of a database over shards: stored is what the shards have.
_INSERT_SETTINGS: Final = {"max_partitions_per_insert_block": 0, "async_insert": 0, "distributed_foreground_insert": 1}
# ALL_CONNECTION_TRIES_FAILED, and where ClickHouse tried.
_NO_SHARD: Final = "Code: 279."
_PLACE: Final = re.compile(r"\(([\w.\-\[\]:]+:\d+)[,)]")
FORM: Final = "http(s)://user:password@host:port/database or chdb:///folder"


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
        self.url = _public(url)
        self.embedded = embedded
        self._use()

    def _use(self) -> None:
        """Make the database current once it exists."""
        if self.database and self.exists():
            self._client.database = self.database
            if self.embedded:
                self.command(statement("server", "use_database").replace("{database:Identifier}", self.database))

    def elsewhere(self, host: str, database: str) -> Store:
        """Open a database of another server as the same account.

        Args:
            host: `host` or `host:port`; the port is this server's by default.
            database: its name.

        Raises:
            StoreUnreachableError: nobody answers there.
        """
        parts = urlsplit(self._address)
        account, at, here = parts.netloc.rpartition("@")
        port = re.search(r":\d+$", here)
        place = host if re.search(r":\d+$", host) or not port else host + port[0]
        return connect(urlunsplit(parts._replace(netloc=f"{account}{at}{place}", path=f"/{database}")))

    def exists(self) -> bool:
        """Tell whether the database is there at all."""
        sql = statement("store", "database_exists")
        return bool(self.query(sql, {"name": self.database}).rows[0][0])

    def has_table(self, name: str) -> bool:
        """Tell whether the database has a table or view of that name."""
        sql = statement("store", "table_exists")
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
        """Run a query of `otjobs/sql/queries`; parameters left out take their defaults.

        Raises:
            QueryError: no such query or parameter, or the database refused it.
        """
        found = named_query(name)
        unknown = set(params) - set(found.types)
        if unknown:
            known = ", ".join(sorted(found.types)) or "none"
            raise QueryError(f"query {name!r} has no parameter {', '.join(sorted(unknown))}; it has: {known}")
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
            raise StoreUnreachableError(_unreachable(self.url, error)) from error
        except ClickHouseError as error:
            if _NO_SHARD in str(error):
                raise StoreUnreachableError(_shard_away(error)) from error
            raise QueryError(_first_line(error)) from error
        except RuntimeError as error:  # chDB's own
            raise QueryError(_first_line(error)) from error


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
    parts = urlsplit(url)
    common: dict[str, Any] = {"tz_mode": "aware"}
    if parts.scheme == "chdb":
        if not parts.path.strip("/"):
            raise ConfigurationError(f"{url!r} names no folder; it should look like chdb:///folder")
        try:
            import chdb  # noqa: F401
        except ImportError:
            raise MissingExtraError("chdb", "embedded") from None
        options = {"interface": "chdb", "path": unquote(parts.path), **common}
        database = DATABASE
    elif parts.scheme in ("http", "https"):
        database = unquote(parts.path.strip("/")) or DATABASE
        try:
            port = parts.port or (8443 if parts.scheme == "https" else 8123)
        except ValueError:
            raise ConfigurationError(f"the port of {_public(url)!r} is no number") from None
        host = parts.hostname or "127.0.0.1"
        # This user's own embedded server: its commands may write.
        own_token = token.known(port) if not parts.username and host in _THIS_MACHINE else ""
        options = {
            "interface": parts.scheme,
            "host": host,
            "port": port,
            "username": unquote(parts.username) if parts.username else token.OWNER if own_token else "default",
            "password": unquote(parts.password or "") or own_token,
            "autogenerate_session_id": False,
            **common,
        }
    else:
        raise ConfigurationError(f"cannot read the database address {_public(url)!r}; it should be {FORM}")
    if not _IDENTIFIER.fullmatch(database):
        raise ConfigurationError(f"{database!r} is no database name; use letters, digits and _")
    try:
        client = clickhouse_connect.get_client(**options)
    except ClickHouseError as error:
        raise StoreUnreachableError(_unreachable(url, error)) from error
    except RuntimeError as error:
        raise StoreUnreachableError(_unreachable(url, error)) from error
    return Store(client, database, url, embedded=parts.scheme == "chdb")


def _public(url: str) -> str:
    """Return the address without its password."""
    return re.sub(r"(://[^:/@]*):[^@/]*@", r"\1:***@", url)


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.split("\n")[0][:2000] if text else type(error).__name__


def _shard_away(error: BaseException) -> str:
    place = _PLACE.search(str(error))
    return (
        f"a shard of the cluster does not answer{f' at {place[1]}' if place else ''}, so there are no figures now; "
        "start it, or ask for those of the others alone with SETTINGS skip_unavailable_shards = 1"
    )


def _unreachable(url: str, error: BaseException) -> str:
    if url.startswith("chdb:"):
        return f"cannot open {url}: {_first_line(error)}; if `otjobs up` holds the folder, ask its SQL port instead"
    return f"no database answers at {_public(url)}: {_reason(error)}; start one with `otjobs up`, or set OTJOBS_URL"


def _reason(error: BaseException) -> str:
    """Return what the system said, where a connection failed, without the HTTP library's wrapping."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return _first_line(error)
