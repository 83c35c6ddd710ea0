"""The embedded database: one chDB folder, owned by this process, and handles on it."""

from __future__ import annotations

import fcntl
import logging
import re
import time
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from otjobs.errors import FolderInUseError, MissingExtraError, ServerError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_log = logging.getLogger("otjobs.server")

DATABASE: Final = "otjobs"
_SETTING_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_OWNER: Final = re.compile(r"PID:\s*(\d+)")


def statement(name: str) -> str:
    """Return the text of `otjobs/sql/server/{name}.sql`."""
    return (resources.files("otjobs") / "sql" / "server" / f"{name}.sql").read_text(encoding="utf-8")


# An INSERT with its data behind the format's name.
_INSERT: Final = re.compile(
    rb"\s*(?P<head>INSERT\s+INTO\s+.{1,65536}?)\s+FORMAT\s+(?P<format>\w+)[ \t]*(?:\r?\n|;|\Z)",
    re.IGNORECASE | re.DOTALL,
)
# Where chDB, which is `clickhouse local`, differs from a server: a bare expression is no statement.
_AS_A_SERVER: Final = {"implicit_select": "0"}
_NO_DATA: Final = re.compile(rb"\b(SELECT|VALUES|INFILE)\b", re.IGNORECASE)


def _locked(file: Path) -> bool:
    """Tell whether another process holds the lock on a file."""
    try:
        with file.open("rb") as opened:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


class UnknownSettingNameError(ValueError):
    """A setting's name is no identifier."""


def _insert(handle: Any, sql: str, input_format: str, data: bytes) -> int:
    """Insert formatted data and return the number of rows.

    Never with the data inside the statement: chDB cuts such data at the first empty line, and in a binary format two
    line feeds may stand anywhere (a length of 10 twice is enough).
    """
    stream = handle.send_insert(sql, input_format)
    try:
        stream.append(data)
        return int(stream.finish().rows_written)
    finally:
        stream.cancel()


class Engine:
    """Opens the folder, migrates it and stays its only owner until `close`.

    Args:
        folder: the data folder; made when it is not there.

    Raises:
        FolderInUseError: another process holds the folder.
        MissingExtraError: chdb is not installed.
        NewerSchemaError: the folder was written by a newer otjobs.
        ServerError: the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        try:
            import chdb
        except ImportError:
            raise MissingExtraError("chdb", "embedded") from None
        self._chdb = chdb
        self.folder = folder.expanduser().resolve()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ServerError(f"cannot make the data folder {self.folder}: {error.strerror or error}") from error
        self._insert_spans = statement("insert_spans")
        self._writer = self._open()
        try:
            self._migrate()
        except BaseException:
            self._writer.close()
            raise

    def _open(self) -> Any:
        try:
            handle = self._chdb.connect(str(self.folder))
            handle.query(statement("ping"))
        except Exception as error:
            # chDB's words for it change with its version; the lock on this file is ClickHouse's own.
            if _locked(self.folder / "status"):
                raise FolderInUseError(self._folder_taken()) from None
            raise ServerError(f"cannot open the data folder {self.folder}: {error}") from error
        return handle

    def _folder_taken(self) -> str:
        try:
            found = _OWNER.search((self.folder / "status").read_text(encoding="utf-8", errors="replace"))
        except OSError:
            found = None
        owner = f" (process {found[1]})" if found else ""
        return (
            f"the data folder {self.folder} is in use by another process{owner}; "
            "ask that one through its SQL port, stop it, or choose another folder with --data"
        )

    def _migrate(self) -> None:
        from otjobs.store import connect
        from otjobs.store.migrate import applied, migrate, migrations

        store = connect(f"chdb://{self.folder}")
        try:
            have, newest = applied(store), max(version for version, _, _ in migrations())
            began = time.monotonic()
            if have and max(have) < newest:
                # Whoever waits for the ports shall know for what.
                _log.info("bringing %s from schema version %d to %d", self.folder, max(have), newest)
            if migrate(store):
                _log.info("%s has schema version %d now (%.1f s)", self.folder, newest, time.monotonic() - began)
        finally:
            store.close()

    def insert(self, block: bytes) -> None:
        """Append one Native block of spans to the landing table; its rows are on disk when this returns."""
        _insert(self._writer, self._insert_spans, "Native", block)

    def run(
        self,
        sql: bytes,
        *,
        output_format: str,
        database: str = "",
        params: Mapping[str, str] | None = None,
        settings: Mapping[str, str] | None = None,
        read_only: bool = False,
    ) -> tuple[bytes, dict[str, str]]:
        """Run a statement on a handle of its own, so that settings and the current database end with it.

        Returns:
            The result in its format, and the figures of `X-ClickHouse-Summary`.

        Raises:
            Exception: chDB's, with the text `Code: N. DB::Exception: ...`.
        """
        handle = self._chdb.connect(str(self.folder))
        try:
            handle.query(statement("use_database"), "CSV", params={"database": database or DATABASE})
            template = statement("set_setting")
            wanted = {**_AS_A_SERVER, **(settings or {}), **({"readonly": "2"} if read_only else {})}
            for name, value in wanted.items():
                if not _SETTING_NAME.fullmatch(name):
                    raise UnknownSettingNameError(name)
                handle.query(template % {"name": name, "value": value.replace("\\", "\\\\").replace("'", "\\'")})
            with_data = None if params else _INSERT.match(sql)
            if with_data and not _NO_DATA.search(with_data["head"]):
                head, kind = with_data["head"].decode(), with_data["format"].decode()
                rows = _insert(handle, head, kind, sql[with_data.end() :])
                return b"", {"written_rows": str(rows)}
            result = handle.query(sql, output_format, params=dict(params or {}))
            summary = {
                "read_rows": str(result.rows_read()),
                "read_bytes": str(result.bytes_read()),
                "written_rows": str(result.rows_written()),
                "written_bytes": str(result.bytes_written()),
                "elapsed_ns": str(int(result.elapsed() * 1e9)),
            }
            return result.bytes() or b"", summary
        finally:
            handle.close()

    def kill_queries(self) -> None:
        """End what readers still run."""
        handle = self._chdb.connect(str(self.folder))
        try:
            handle.query(statement("kill_queries"))
        finally:
            handle.close()

    def close(self) -> None:
        """Give the folder back."""
        self._writer.close()
