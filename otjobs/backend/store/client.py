"""The one client for a ClickHouse server, the embedded server and a chDB folder."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from otjobs.backend.store import token
from otjobs.backend.store.address import public, read
from otjobs.backend.store.sql_files import named_query, part, render, statements
from otjobs.backend.store.sql_files import read as read_sql
from otjobs.errors import (
    AccountError,
    ConfigurationError,
    MissingExtraError,
    QueryError,
    RightsError,
    StoreUnreachableError,
)

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
_CODE: Final = re.compile(r"\bCode: (\d+)\.")
_WRAPPING: Final = re.compile(
    r"^.*?(?:Code: \d+\. DB::Exception: )+|^Received ClickHouse exception, code: \d+, server response: "
)
_TRAILING: Final = re.compile(r"(?:\s*\((?:version [^()]*|for url [^()]*)\)|(?<=[.:]) \.(?= \())+")
_WRONG_ACCOUNT: Final = frozenset(
    {192, 193, 194, 516}
)  # unknown user, wrong password, no password, authentication failed
_NO_RIGHT: Final = frozenset({164, 497})  # read only, access denied
_BAD_PARAMETER: Final = frozenset({27, 32, 457})
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
            raise StoreUnreachableError(_unreachable(self.url, error)) from error
        except ClickHouseError as error:
            if _NO_SHARD in str(error):
                raise StoreUnreachableError(_shard_away(error)) from error
            raise _refused(error, self.url) from error
        except RuntimeError as error:  # chDB's own
            raise QueryError(_said(error)) from error


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
    try:
        parts = read(url)
        host, path = parts.host or "127.0.0.1", parts.path
    except ValueError as error:
        raise ConfigurationError(
            f"cannot read the database address {public(url)!r}: {error}; it should be {FORM}"
        ) from None
    common: dict[str, Any] = {"tz_mode": "aware"}
    if parts.scheme == "chdb":
        if parts.account:
            raise ConfigurationError(f"{public(url)!r} names an account, and a folder has none: chdb:///folder")
        if not path.strip("/"):
            raise ConfigurationError(f"{public(url)!r} names no folder; it should look like chdb:///folder")
        try:
            import chdb  # noqa: F401
        except ImportError:
            raise MissingExtraError("chdb", "embedded") from None
        options = {"interface": "chdb", "path": unquote(path), **common}
        database = DATABASE
    elif parts.scheme in ("http", "https"):
        database = unquote(path.strip("/")) or DATABASE
        try:
            port = parts.port or (8443 if parts.scheme == "https" else 8123)
        except ValueError:
            raise ConfigurationError(f"the port of {public(url)!r} is no number") from None
        # This user's own embedded server: its commands may write.
        own_token = token.known(port) if not parts.user and host in _THIS_MACHINE else ""
        options = {
            "interface": parts.scheme,
            "host": host,
            "port": port,
            "username": parts.user or (token.OWNER if own_token else "default"),
            "password": parts.password or own_token,
            "autogenerate_session_id": False,
            **common,
        }
    else:
        raise ConfigurationError(f"cannot read the database address {public(url)!r}; it should be {FORM}")
    if not _IDENTIFIER.fullmatch(database):
        raise ConfigurationError(f"{database!r} is no database name; use letters, digits and _")
    try:
        client = clickhouse_connect.get_client(**options)
    except (ClickHouseError, RuntimeError) as error:
        if parts.scheme != "chdb" and _CODE.search(str(error)):  # somebody answers
            raise _refused(error, public(url)) from error
        raise StoreUnreachableError(_unreachable(url, error)) from error
    return Store(client, database, url, embedded=parts.scheme == "chdb")


def _refused(error: BaseException, url: str) -> QueryError | AccountError:
    """Return the error that names what ClickHouse refused, and the way out."""
    text = _said(error)
    found = _CODE.search(str(error))
    code = int(found[1]) if found else 0
    if code in _WRONG_ACCOUNT:
        return AccountError(f"the account of {url} is refused: {text}; write it as {FORM}, in --url or OTJOBS_URL")
    if code in _NO_RIGHT:
        return RightsError(f"{text}; use an account that may, in --url or OTJOBS_URL")
    if code in _BAD_PARAMETER and "query parameter" in text:
        return QueryError(f"{text}; what each parameter takes: otjobs sql --list")
    return QueryError(text)


def _said(error: BaseException) -> str:
    """Return what ClickHouse itself said, without what its client and its HTTP port put around it."""
    lines = str(error).strip().split("\n")
    text = _WRAPPING.sub("", next((line for line in lines if "DB::Exception" in line), lines[0]))
    return _TRAILING.sub("", text)[:2000] or type(error).__name__


def _shard_away(error: BaseException) -> str:
    place = _PLACE.search(str(error))
    return (
        f"a shard of the cluster does not answer{f' at {place[1]}' if place else ''}, so there are no figures now; "
        "start it, or ask for those of the others alone with SETTINGS skip_unavailable_shards = 1"
    )


def _unreachable(url: str, error: BaseException) -> str:
    if url.startswith("chdb:"):
        return f"cannot open {public(url)}: {_said(error)}; if `otjobs up` holds the folder, ask its SQL port instead"
    return f"no database answers at {public(url)}: {_reason(error)}; start one with `otjobs up`, or set OTJOBS_URL"


def _reason(error: BaseException) -> str:
    """Return what the system said, where a connection failed, without the HTTP library's wrapping."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return _said(error)
