"""The embedded database: one chDB folder, owned by this process, and handles on it."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import tempfile
import time
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from otjobs.backend.server import room
from otjobs.backend.server.access import Access, Limits
from otjobs.backend.server.folder import keep_private
from otjobs.backend.server.held import held
from otjobs.backend.server.parameters import escaped, lines
from otjobs.backend.store import connect
from otjobs.backend.store.address import DATABASE
from otjobs.backend.store.folder_owner import other_owner
from otjobs.backend.store.landing import COLUMNS
from otjobs.backend.store.migrate import applied, migrate, migrations
from otjobs.backend.store.sql_files import literal, read, render
from otjobs.errors import FolderInUseError, MissingExtraError, ServerError

if TYPE_CHECKING:
    from collections.abc import Mapping

_log = logging.getLogger("otjobs.server")

READER_SECONDS: Final = 60
READER_RESULT_BYTES: Final = 256 << 20
_SETTING_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_ROLES: Final = {"owner", "reader"}

# An INSERT with its data behind the format's name.
_INSERT: Final = re.compile(
    rb"\s*(?P<head>INSERT\s+INTO\s+.{1,65536}?\s+FORMAT\s+\w+)[ \t]*(?:\r?\n|;|\Z)", re.IGNORECASE | re.DOTALL
)
# Where chDB, which is `clickhouse local`, differs from a server: a bare expression is no statement, and a program on
# the other side of a port has no terminal to colour.
_AS_A_SERVER: Final = {"implicit_select": "0", "output_format_pretty_color": "0"}
# Queries of readers give way to the writer, whose threads have the usual priority.
_OF_A_READER: Final = {
    "readonly": "2",
    "os_threads_nice_value_query": "10",
    "function_range_max_elements_in_block": "20000000",
}
_NO_DATA: Final = re.compile(rb"\b(SELECT|VALUES|INFILE)\b", re.IGNORECASE)
_PLAIN_PATH: Final = re.compile(r"[\w/ .\-]+")


def reader_limits() -> Limits:
    """Return what one statement of a reader may use on this machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Limits(
        seconds=READER_SECONDS,
        memory_bytes=max(256 << 20, min(2 << 30, memory // 8)),
        threads=max(1, (os.cpu_count() or 1) // 2),
        result_bytes=READER_RESULT_BYTES,
    )


class UnknownSettingNameError(ValueError):
    """A setting's name is no identifier."""


class Engine:
    """Opens the folder, migrates it and stays its only owner until `close`.

    Args:
        folder: the data folder; made when it is not there.

    Raises:
        FolderInUseError: another process holds the folder.
        MissingExtraError: chdb is not installed.
        NewerSchemaError: the folder was written by a newer otjobs.
        ServerError: the folder cannot be written, or cannot be kept from others.
    """

    def __init__(self, folder: Path) -> None:
        try:
            import chdb
        except ImportError:
            raise MissingExtraError("chdb", "embedded") from None
        self._chdb = chdb
        self.folder = folder.expanduser().resolve()
        keep_private(self.folder)
        self._insert_spans = render(read("server", "insert_spans"), columns=", ".join(COLUMNS))
        self._writer = self._open()
        try:
            self.access = Access(self._writer, reader_limits())
            self._migrate()
        except BaseException:
            self._writer.close()
            raise

    def _open(self) -> Any:
        self._refuse_taken()
        try:
            handle = self._connect_first()
            roles = set(lines(handle, "roles"))
        except Exception as error:
            self._refuse_taken()  # by one that was faster
            raise ServerError(f"cannot open the data folder {self.folder}: {error}") from error
        if roles != _ROLES:  # without them readers could do everything
            handle.close()
            raise ServerError(
                "chDB did not take the roles of the embedded server; is it opened elsewhere in this process?"
            )
        return handle

    def _refuse_taken(self) -> None:
        owner = other_owner(self.folder)
        if owner:
            raise FolderInUseError(
                f"the data folder {self.folder} is in use by {owner}; "
                "ask that one through its SQL port, stop it, or choose another folder with --data"
            ) from None

    def _connect_first(self) -> Any:
        """Open the folder with the roles, which the first handle of a process brings."""
        with resources.as_file(resources.files("otjobs.backend") / "server" / "chdb") as found:
            if _PLAIN_PATH.fullmatch(str(found)):
                return self._connect_with(found)
            # chDB reads no path with such characters from its address.
            with tempfile.TemporaryDirectory(prefix="otjobs-") as copied:
                shutil.copytree(found, copied, dirs_exist_ok=True)
                return self._connect_with(Path(copied))

    def _connect_with(self, configuration: Path) -> Any:
        return self._chdb.connect(f"{self.folder}?config-file={quote(str(configuration / 'config.xml'))}")

    def _migrate(self) -> None:
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

    def insert(self, block: bytes, rows: int) -> None:
        """Append one Native block of spans to the landing table; its rows, and those of the views, are on disk then.

        Raises:
            OSError: the disk is nearly full.
            ServerError: fewer rows were written.
            Exception: chDB's; a part of the rows may be stored all the same.
        """
        room.check(self._writer, self.folder, len(block))
        with held(block, self.folder) as path:
            written = self._writer.query(render(self._insert_spans, path=literal(path))).rows_written()
        if written < rows:  # the rows of the views count, too
            raise ServerError(f"{written} of {rows} spans were written")

    def run(
        self,
        sql: bytes,
        *,
        output_format: str,
        database: str = "",
        params: Mapping[str, str] | None = None,
        settings: Mapping[str, str] | None = None,
        read_only: bool = False,
        reader: bool = False,
        mark: str = "",
    ) -> tuple[bytes, dict[str, str]]:
        """Run a statement on a handle of its own, so that settings, role and current database end with it.

        Args:
            sql: the statement, of the owner also several, and an INSERT with its data.
            output_format: what it is answered in where it names none.
            database: the current database.
            params: values for its `{name:Type}`.
            settings: ClickHouse settings.
            read_only: nothing may be changed.
            reader: with the rights and the limits of a reader.
            mark: a name for `kill`.

        Returns:
            The result in its format, and the figures of `X-ClickHouse-Summary`.

        Raises:
            RefusedError: a reader may not run it.
            Exception: chDB's, with the text `Code: N. DB::Exception: ...`.
        """
        given = dict(settings or {})
        if reader:
            given = self.access.bounded(given)
            self.access.check_format(output_format)
        handle = self._chdb.connect(str(self.folder))
        try:
            handle.query(read("server", "use_database"), "CSV", params={"database": database or DATABASE})
            wanted = {**_AS_A_SERVER, **given, "log_comment": mark}
            wanted |= _OF_A_READER if reader else {"readonly": "2"} if read_only else {}
            for name in wanted:
                if not _SETTING_NAME.fullmatch(name):
                    raise UnknownSettingNameError(name)
            changes = ", ".join(f"{name} = {literal(value)}" for name, value in wanted.items())
            handle.query(render(read("server", "set_settings"), changes=changes))
            if reader:
                handle.query(read("server", "set_role"))
                self.access.check(handle, sql.decode(), params or {}, database)
            elif (with_data := None if params else _INSERT.match(sql)) and not _NO_DATA.search(with_data["head"]):
                return b"", {"written_rows": self._insert(handle, with_data["head"].decode(), sql[with_data.end() :])}
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

    def _insert(self, handle: Any, sql: str, data: bytes) -> str:
        """Insert formatted data and return the number of rows.

        Never with the data inside the statement: chDB cuts such data at the first empty line, and in a binary format
        two line feeds may stand anywhere. Never as chDB's stream either: that one does not say what went wrong.
        """
        with held(data, self.folder) as path:
            tree = json.loads(
                handle.query(read("server", "parse"), "TSVRaw", params={"statement": escaped(sql)}).bytes()
            )
            for name, value in {"infile": path, "compression": "none"}.items():
                tree[name] = {"type": "Literal", "value": {"field_type": "String", "value": value}}
            made = handle.query(read("server", "format"), "TSVRaw", params={"tree": escaped(json.dumps(tree))}).bytes()
            return str(handle.query(made.decode()).rows_written())

    def kill(self, mark: str) -> None:
        """End the statement that `run` was given this mark for, where it runs."""
        self._kill("kill_query", {"mark": escaped(mark)})

    def kill_queries(self) -> None:
        """End what readers still run."""
        self._kill("kill_queries", {})

    def _kill(self, name: str, params: dict[str, str]) -> None:
        handle = self._chdb.connect(str(self.folder))
        try:
            handle.query(read("server", name), "CSV", params=params)
        finally:
            handle.close()

    def close(self) -> None:
        """Give the folder back."""
        self._writer.close()
