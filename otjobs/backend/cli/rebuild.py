"""`otjobs rebuild`: derived tables made again from the stored spans."""

from __future__ import annotations

import sys
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from otjobs.backend.cli.frame import json_option, opened, url_option
from otjobs.backend.cli.screen import Column, Screen, say, say_document
from otjobs.backend.store.cluster import refuse_replicated, shards
from otjobs.backend.store.rebuild import abandon as give_up
from otjobs.backend.store.rebuild import rebuild as make_again
from otjobs.backend.store.rebuild_plan import TABLES, plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

_COLUMNS = (
    Column("day", "DAY"),
    Column("table", "TABLE"),
    Column("before", "ROWS BEFORE", "count"),
    Column("after", "ROWS AFTER", "count"),
)
_DAY = click.DateTime(formats=["%Y-%m-%d"])


@click.command()
@click.option("--from", "first", type=_DAY, metavar="DAY", help="The first day of jobs, like 2026-11-01 (UTC).")
@click.option("--to", "last", type=_DAY, metavar="DAY", help="The last day. Default: today.")
@click.option(
    "--table",
    "tables",
    type=click.Choice(TABLES),
    metavar="TABLE",
    multiple=True,
    help=f"Only this table, and what is made of it; may be given several times: {', '.join(TABLES)}. Default: all.",
)
@click.option("--take-over", is_flag=True, help="Go on though another process seems to be at it: it is dead.")
@click.option("--abandon", is_flag=True, help="Drop what an interrupted rebuild left, and do nothing else.")
@json_option
@url_option
def rebuild(
    first: datetime | None,
    last: datetime | None,
    tables: tuple[str, ...],
    take_over: bool,
    abandon: bool,
    as_json: bool,
) -> None:
    """Make the derived tables again from the stored spans.

    For a day whose figures you do not trust: attempts, workflows and minutes are computed anew, and take the place of
    the old ones at once. Services, readers and the collector go on meanwhile. Call it again after an interruption, and
    it goes on; only one runs at a time. A day is that on which jobs were enqueued. Days whose spans are partly gone are
    refused. Without --from and --to: all days that can be.

    Example:
      otjobs rebuild --from 2026-11-01 --to 2026-11-03
      otjobs rebuild --from 2026-11-02 --to 2026-11-02 --table minute_rows
    """
    with ExitStack() as stack:
        store = stack.enter_context(opened())
        refuse_replicated(store, "rebuild")
        databases = stack.enter_context(shards(store))
        if abandon:
            for database in databases:
                give_up(database, take_over=take_over)
            return
        plans = [plan(each, first.date() if first else None, last.date() if last else None) for each in databases]
        counts: dict[tuple[str, str], list[int]] = {}
        with _progress() as report:
            for number, (database, days) in enumerate(zip(databases, plans, strict=True), 1):
                shard = f"shard {number}: " if len(databases) > 1 else ""
                told = partial(_tell, report, shard)
                for count in make_again(database, days, tables or TABLES, report=told, take_over=take_over):
                    both = counts.setdefault((count.day, count.table), [0, 0])
                    both[0] += count.before
                    both[1] += count.after
    days = sorted({day for days in plans for day in days})
    rows = [
        {"day": day, "table": table, "before": before, "after": after}
        for (day, table), (before, after) in counts.items()
    ]
    if as_json:
        say_document({"days": [str(day) for day in days], "counts": rows})
        return
    if not rows:
        say("there is nothing to rebuild: no span is stored")
        return
    Screen().table(_COLUMNS, rows)


def _tell(report: Callable[[str, int, int], None], shard: str, what: str, done: int, total: int) -> None:
    report(shard + what, done, total)


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """Give what reports how far it got: a bar on a terminal, nothing in a pipe; on standard error."""
    columns: tuple[Any, ...] = (
        TextColumn("{task.description:16}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(file=sys.stderr), disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("rebuild", total=None)

        def report(what: str, done: int, total: int) -> None:
            progress.update(task, description=what, completed=done, total=total)

        yield report


COMMANDS = (rebuild,)
