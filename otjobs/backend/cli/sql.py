"""`otjobs sql`: any statement, or one of the named queries."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from otjobs.backend.cli.frame import opened, url_option
from otjobs.backend.cli.screen import Column, Screen, say, say_document, say_tabs
from otjobs.backend.store import Result
from otjobs.backend.store.sql_files import named_query, query_names, statements
from otjobs.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otjobs.backend.store import Store

# What answers with rows; everything else (CREATE, INSERT, ALTER, ...) is only done.
_ASKS: Final = re.compile(
    r"(\s|\(|--[^\n]*\n|/\*.*?\*/)*(SELECT|WITH|SHOW|DESC|DESCRIBE|EXPLAIN|EXISTS|CHECK|FROM)\b",
    re.IGNORECASE | re.DOTALL,
)
# What would hold for a session, and every statement has one of its own.
_LASTS: Final = re.compile(r"(?:\s|--[^\n]*\n|/\*.*?\*/)*(SET|USE)\b", re.IGNORECASE | re.DOTALL)
_FORMAT: Final = re.compile(r"\bFORMAT\s+\w+\s*;?\s*$", re.IGNORECASE)


@click.command()
@click.argument("statement", required=False)
@click.option("--named", metavar="NAME", help="Run a query that otjobs brings along.")
@click.option(
    "--param", "params", multiple=True, metavar="K=V", help="A parameter of the named query; may be repeated."
)
@click.option("--list", "listing", is_flag=True, help="List the named queries with their parameters.")
@click.option(
    "--format",
    "form",
    type=click.Choice(("table", "json", "tsv")),
    default="table",
    show_default=True,
    help="table is for people, json is one array of objects, tsv has a line of names first.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@url_option
def sql(
    statement: str | None, named: str | None, params: tuple[str, ...], listing: bool, form: str, as_json: bool
) -> None:
    """Run SQL, or a query that otjobs brings along.

    It runs in the otjobs database; the views are `jobs`, `attempts` and `workflows`. The statement is an argument
    or comes from standard input; there may be several, with a semicolon after each (json takes one). Each runs by
    itself: settings belong into the statement (SETTINGS max_threads = 1), the database into --url. Times are shown to
    the microsecond; toUnixTimestamp64Nano(...) has all digits.

    Example:
      otjobs sql "SELECT job_type, count() FROM jobs GROUP BY job_type"
      otjobs sql --format tsv < report.sql
      otjobs sql --list
      otjobs sql --named failures --param seconds=3600
    """
    form = "json" if as_json else form
    if listing:
        _list(form)
        return
    given = _params(params)
    if named and statement:
        raise click.UsageError("--named and a statement of your own exclude each other")
    if given and not named:
        raise click.UsageError("--param goes with --named; write values of your own into the statement")
    if named:
        named_query(named)  # an unknown name is told without a database
        with opened() as store:
            _print(store.named(named, **given), form)
        return
    scripts = _statements(statement)
    if form == "json" and len(scripts) > 1:
        raise click.UsageError("--format json takes one statement, because it prints one document")
    with opened(needs_schema=False) as store:
        for number, text in enumerate(scripts):
            result = _run(store, text)
            if number and form == "table":
                say()
            _print(result, form)


def _run(store: Store, text: str) -> Result:
    if lasting := _LASTS.match(text):
        raise QueryError(
            f"{lasting[1].upper()} would be forgotten before the next statement; write SETTINGS name = value at the "
            "end of the statement, and the database into --url"
        )
    if not _ASKS.match(text):
        store.command(text)
        return Result([], [])
    if _FORMAT.search(text):
        raise QueryError("the statement names a FORMAT; leave it away and use --format table, json or tsv")
    return store.query(text)


def _statements(argument: str | None) -> list[str]:
    if argument is None:
        if sys.stdin.isatty():
            raise click.UsageError('there is no statement; try: otjobs sql "SELECT count() FROM jobs", or --list')
        try:
            argument = sys.stdin.read()
        except UnicodeDecodeError as error:
            raise click.UsageError(f"standard input is no text: {error}") from error
    found = statements(argument)
    if not found:
        raise click.UsageError("the statement is empty")
    return found


def _params(params: Sequence[str]) -> dict[str, str]:
    given = {}
    for text in params:
        key, equals, value = text.partition("=")
        if not equals:
            raise click.BadParameter(f"{text!r} should look like seconds=3600", param_hint="--param")
        given[key] = value
    return given


def _print(result: Result, form: str) -> None:
    names = result.column_names
    if form == "json":
        say_document([dict(zip(names, row, strict=True)) for row in result.rows])
    elif not names:
        say("done", err=True)
    elif form == "tsv":
        for line in (names, *result.rows):
            say_tabs(line)
    else:
        numbered = [{str(i): value for i, value in enumerate(row)} for row in result.rows]
        columns = [Column(str(i), name, _kind(result.rows, i)) for i, name in enumerate(names)]
        Screen().table(columns, numbered)


def _kind(rows: Sequence[tuple[Any, ...]], index: int) -> str:
    """Numbers stand on the right, as they are."""
    known = [row[index] for row in rows if row[index] is not None]
    numbers = known and all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in known)
    return "count" if numbers else "text"


def _list(form: str) -> None:
    found = [named_query(name) for name in query_names()]
    if form == "json":
        fields = ("types", "defaults", "meanings")
        say_document([{"name": q.name, "summary": q.summary, **{f: getattr(q, f) for f in fields}} for q in found])
        return
    for query in found:
        say(f"{query.name}: {query.summary}")
        for key, kind in query.types.items():
            default = query.defaults[key] or "''"
            meaning = f"  {query.meanings[key]}" if query.meanings[key] else ""
            say(f"    --param {key}={default}  ({kind}){meaning}")


COMMANDS = (sql,)
