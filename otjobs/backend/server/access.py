"""What a reader of the SQL port may ask: one statement that only reads the database.

The role `reader` (chdb/users.xml) takes the rights to files, other servers and writing away from the handle. This
module refuses what ClickHouse has no right for: functions that read files or wait, files written by the client's side
of a statement, formats and settings that name files, limits lifted, tables about other people's queries. It looks at
the tree that chDB's own parser makes of the very text that is run, so quoting, comments, letter case and nesting make
no difference.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from otjobs.backend.server.parameters import escaped, lines
from otjobs.backend.store.sql_files import read, render

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_QUERIES: Final = frozenset(
    {"SelectWithUnionQuery", "ExplainQuery", "ShowTablesQuery", "ShowColumnsQuery", "ShowIndexesQuery"}
)
_PARTS: Final = frozenset({"SelectQuery", "SelectIntersectExceptQuery", "SetQuery", "TablesInSelectQuery"})
# Statements that chDB's parser has no JSON for, and what may stand under them in its plain tree.
_PLAIN: Final = re.compile(
    r"(DescribeQuery|ExistsTableQuery|ExistsViewQuery|ExistsDatabaseQuery|ShowCreateTableQuery|ShowCreateViewQuery"
    r"|ShowCreateDatabaseQuery|ShowFunctions|ShowSetting)\b"
)
_PLAIN_PARTS: Final = re.compile(r" *(TableExpression|TableIdentifier|Identifier)\b")
_WITH_DATA: Final = re.compile(r"Code: 36\b")
# From its beginning: further on such a message quotes the statement.
_NO_JSON: Final = re.compile(r"Code: 36\. DB::Exception: AST node of type '")
_TABLE_FUNCTIONS: Final = frozenset(
    {"generate_series", "generateseries", "generaterandom", "null", "numbers", "values", "view"}
)
_FORMATS: Final = (
    "arrow", "bsoneachrow", "buffers", "csv", "geojson", "hash", "json", "lineasstring", "markdown", "md", "msgpack",
    "native", "ndjson", "npy", "null", "orc", "parquet", "pretty", "raw", "rowbinary", "sqlinsert", "tabseparated",
    "tskv", "tsv", "values", "vertical", "xml",
)  # fmt: skip
_SETTINGS: Final = re.compile(
    r"(?!output_format_(schema|avro))output_format_\w+|date_time_(in|out)put_format"
    r"|format_(csv_delimiter|tsv_null_representation|csv_null_representation)|input_format_binary_read_json_as_string"
    r"|max_(block_size|threads|execution_time|memory_usage|result_rows|result_bytes|rows_to_read|bytes_to_read|rows_to_group_by)"
    r"|(result|read|timeout|group_by)_overflow_mode|session_timezone|join_(use_nulls|algorithm)|group_by_use_nulls"
    r"|joined_subquery_requires_alias|aggregate_functions_null_for_empty|final|limit|offset|extremes|totals_mode"
    r"|prefer_column_name_to_alias|union_default_mode|do_not_merge_across_partitions_select_final|skip_unavailable_shards"
    r"|(optimize|query_plan|compile|use_skip_indexes|cast)_\w+|enable_analyzer|allow_experimental_analyzer|readonly|log_comment"
)
_DATABASE: Final = "system"


class RefusedError(Exception):
    """A statement that a reader may not run; the text is what ClickHouse would say."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that one statement of a reader may use."""

    seconds: int
    memory_bytes: int
    threads: int
    result_bytes: int

    def settings(self) -> dict[str, str]:
        """Return them as ClickHouse settings."""
        return {
            "max_execution_time": str(self.seconds),
            "max_memory_usage": str(self.memory_bytes),
            "max_threads": str(self.threads),
            "max_result_bytes": str(self.result_bytes),
        }


def refused(text: str, code: int = 497, name: str = "ACCESS_DENIED") -> RefusedError:
    """Return the error for a reader, with the way out."""
    return RefusedError(f"Code: {code}. DB::Exception: {text} ({name})")


def _not_allowed(what: str) -> RefusedError:
    return refused(
        f"{what} is not allowed on this port for readers; ask as the user `owner` with the token of the data folder"
    )


class Access:
    """Checks the statements of readers.

    Args:
        handle: a chDB handle, used for the lists alone.
        limits: the most that one statement may use.
    """

    def __init__(self, handle: Any, limits: Limits) -> None:
        self.limits = limits
        self._functions = frozenset(lines(handle, "refused_functions"))
        self._tables = frozenset(lines(handle, "refused_tables"))
        self._settings = frozenset(lines(handle, "settings"))

    def bounded(self, settings: Mapping[str, str]) -> dict[str, str]:
        """Return settings that come beside a statement, with values above the limits brought down to them.

        Clients send a time limit of their own with every statement (Grafana 65 seconds) and cannot do otherwise.

        Raises:
            RefusedError: one of them reaches files.
        """
        caps = self.limits.settings()
        within = {name: value for name, value in settings.items() if name not in caps or _within(value, caps[name])}
        self.check_settings(within)
        return caps | within

    def check_settings(self, settings: Mapping[str, str]) -> None:
        """Refuse settings that reach files or lift limits.

        Raises:
            RefusedError: one of them does.
        """
        caps = self.limits.settings()
        for name, value in settings.items():
            if name in self._settings and not _SETTINGS.fullmatch(name):  # ClickHouse refuses unknown names itself
                raise _not_allowed(f"the setting {name!r}")
            if name == "readonly" and value not in {"1", "2"}:
                raise _not_allowed("a lower readonly")
            if name in caps and not _within(value, caps[name]):
                raise refused(
                    f"Setting {name} shouldn't be greater than {caps[name]}, nor 0, for readers of this port",
                    452,
                    "SETTING_CONSTRAINT_VIOLATION",
                )

    def check_format(self, name: str) -> None:
        """Refuse output formats that read files.

        Raises:
            RefusedError: it is one of them.
        """
        if not name.lower().startswith(_FORMATS):
            raise _not_allowed(f"the format {name!r}")

    def check(self, handle: Any, sql: str, params: Mapping[str, str], database: str) -> None:
        """Refuse everything but one statement that only reads.

        Args:
            handle: the chDB handle that will run the statement.
            sql: its text.
            params: values for its `{name:Type}`, as the HTTP interface takes them.
            database: the current database.

        Raises:
            RefusedError: it is something else.
            Exception: chDB's, when it cannot be parsed.
        """
        if "\0" in sql:  # where a text ends is not the same to everybody
            raise refused("a statement has no NUL in it", 62, "SYNTAX_ERROR")
        try:
            found = handle.query(read("server", "parse"), "TSVRaw", params={"statement": escaped(sql)})
        except Exception as error:
            if not _NO_JSON.match(str(error)):
                raise _not_allowed("a statement with data") if _WITH_DATA.match(str(error)) else error from None
            _check_plain(handle, sql)
            return
        try:
            tree = json.loads(found.bytes())
        except RecursionError:
            raise _not_allowed("a statement that is nested so deeply") from None
        if tree.get("type") not in _QUERIES:
            raise _not_allowed(f"a statement of the kind {str(tree.get('type')).removesuffix('Query')}")
        for node in _nodes(tree):
            self._check_node(node, params, database)

    def _check_node(self, node: dict[str, Any], params: Mapping[str, str], database: str) -> None:
        kind = node.get("type", "")
        if "out_file" in node:
            raise _not_allowed("INTO OUTFILE")
        if kind.endswith("Query") and kind not in _QUERIES | _PARTS:
            raise _not_allowed(f"a statement of the kind {kind.removesuffix('Query')}")
        if form := node.get("format_ast"):
            self.check_format(str(form.get("name", "")))
        if kind == "SetQuery":
            self._check_changes(node)
        if (
            isinstance(table := node.get("table_function"), dict)
            and str(table.get("name")).lower() not in _TABLE_FUNCTIONS
        ):
            raise _not_allowed(f"the table function {table.get('name')!r}")
        if kind == "Function" or "func_name" in node:
            self._check_function(str(node.get("func_name") or node.get("name", "")))
        elif kind in {"Identifier", "TableIdentifier"}:
            self._check_name(node.get("name_parts") or [node.get("name", "")], database)
        elif kind == "QueryParameter" and "Identifier" in node.get("param_type", ""):
            # A parameter may stand for a function (arrayMap takes its name), a table or the table of another database.
            value = params.get(node.get("name", ""), "")
            self._check_name([value], database)
            self._check_name([_DATABASE, value.rpartition(".")[2].strip('`"')], database)

    def _check_changes(self, node: dict[str, Any]) -> None:
        if set(node) - {"type", "changes"}:
            raise _not_allowed("such a SETTINGS clause")
        self.check_settings({change["name"]: _text(change["value"]) for change in node.get("changes", ())})

    def _check_function(self, name: str) -> None:
        if name.lower() in self._functions:
            raise _not_allowed(f"the function {name!r}")

    def _check_name(self, parts: list[str], database: str) -> None:
        names = [part.lower() for part in parts]
        if len(names) == 1:
            self._check_function(parts[0])
            names.insert(0, database.lower())
        if names[0] == _DATABASE and names[1] in self._tables:
            raise _not_allowed(f"the table 'system.{parts[-1]}'")


def _check_plain(handle: Any, sql: str) -> None:
    tree = handle.query(render(read("server", "explain_ast"), statement=sql), "TSVRaw").bytes().decode().splitlines()
    if not _PLAIN.match(tree[0]):
        raise _not_allowed(f"a statement of the kind {tree[0].split(' ')[0].removesuffix('Query')}")
    for line in tree[1:]:
        if not _PLAIN_PARTS.match(line):
            raise _not_allowed(f"{line.strip()!r} in such a statement")


def _within(value: str, most: str) -> bool:
    return re.fullmatch(r"[0-9]{1,15}(\.0*)?", value) is not None and 0 < float(value) <= int(most)


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            # What EXPLAIN has under this name are its own options.
            options = "settings" if node.get("type") == "ExplainQuery" else ""
            waiting.extend(value for key, value in node.items() if key != options)
        elif isinstance(node, list):
            waiting.extend(node)


def _text(value: Mapping[str, Any]) -> str:
    held = value.get("value")
    return str(int(held)) if isinstance(held, bool) else str(held)
