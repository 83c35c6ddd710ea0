"""The one place that writes: tables and bars with colours on a terminal, aligned plain text without frames in a pipe.

Names, ids and errors come from outside. Whatever is written here cannot steer a terminal or break a line; no other
module of the command writes anything.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TextIO

import click
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from otjobs.backend.cli import format as fmt
from otjobs.backend.cli import timeline

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

PIPE_BAR_WIDTH: Final = 40
_LEAST_BAR_WIDTH: Final = 16
_MOST_BAR_WIDTH: Final = 72
_SHORT_ID: Final = 8  # every command takes the beginning of an id
_RANDOM_ID: Final = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}")
_STYLES: Final = {
    "succeeded": "green",
    "success": "green",
    "running": "cyan",
    "waiting": "yellow",
    "retrying": "yellow",
    "retry": "yellow",
    "scheduled": "dim",
    "unpaired": "dim",
    "cancelled": "dim",
    "failed": "red",
    "failure": "red",
    "lost": "bold red",
    "expired": "red",
    "rejected": "red",
    timeline.DELAY: "dim",
    timeline.WAIT: "yellow",
    timeline.RUN: "green",
    timeline.FAILED: "red",
}
_ASCII: Final = {timeline.EMPTY: " ", timeline.DELAY: ".", timeline.WAIT: "-", timeline.RUN: "#", timeline.FAILED: "x"}
_BLOCKS: Final = {timeline.EMPTY: " ", timeline.DELAY: "·", timeline.WAIT: "░", timeline.RUN: "█", timeline.FAILED: "█"}


def say(text: str = "", *, err: bool = False) -> None:
    """Write one line to standard output, or to standard error."""
    click.echo(fmt.printable(text), err=err)


def say_document(value: Any) -> None:
    """Write one JSON document to standard output."""
    click.echo(fmt.document(value))


def say_tabs(line: Sequence[Any]) -> None:
    """Write one line of ClickHouse's TabSeparated to standard output."""
    click.echo("\t".join(map(fmt.tsv, line)))


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: the row's key, the heading, and how the value is written.

    `kind` is text, id, state, count, seconds, time, flag, tree or bar; a `spare` one goes first where a terminal is
    narrow.
    """

    key: str
    title: str
    kind: str = "text"
    spare: bool = False

    @property
    def heading(self) -> str:
        """The title, which a statement may have chosen."""
        return fmt.printable(self.title)

    @property
    def right(self) -> bool:
        """Numbers stand on the right."""
        return self.kind in ("count", "seconds")

    def text(self, value: Any) -> str:
        """Return a value as people read it."""
        if self.kind == "seconds":
            return fmt.duration(value)
        if self.kind == "time":
            return fmt.moment(value)
        if self.kind == "flag":
            return "yes" if value else "no"
        return fmt.written(value)

    def short(self, value: Any) -> str:
        """Return a value in less room: times without their year, the beginning of long random ids."""
        text = self.text(value)
        if self.kind == "time" and text != fmt.NOTHING:
            return text[5:19].replace("T", " ")
        return text[:_SHORT_ID] if self.kind == "id" and _RANDOM_ID.fullmatch(text) else text


class Screen:
    """Writes tables, pairs and lines to a stream.

    Args:
        stream: standard output by default.
        terminal: draw as on a terminal; by default where the stream is one.
        width: of the terminal, in cells.
    """

    def __init__(self, stream: TextIO | None = None, *, terminal: bool | None = None, width: int | None = None) -> None:
        self.stream = stream or sys.stdout
        dumb = os.environ.get("TERM") == "dumb"
        self.terminal = self.stream.isatty() and not dumb if terminal is None else terminal
        self.console = Console(
            file=self.stream, force_terminal=self.terminal, width=width, highlight=False, emoji=False, markup=False
        )
        blocks = self.terminal and "utf" in (getattr(self.stream, "encoding", None) or "utf-8").lower()
        self.glyphs = _BLOCKS if blocks else _ASCII
        self._branches = ("├─ ", "└─ ", "│  ", "   ") if blocks else ("  ", "  ", "  ", "  ")

    def line(self, text: str = "", style: str = "") -> None:
        """Write one line; it is not wrapped in a pipe."""
        text = fmt.printable(text)
        if self.terminal:
            self.console.print(Text(text, style=style))
        else:
            self.stream.write(text.rstrip() + "\n")
            self.stream.flush()

    def title(self, text: str) -> None:
        """Write a heading after an empty line."""
        self.line()
        self.line(text, "bold")

    def pairs(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Write names and values, one pair a line; pairs without a value are left out."""
        known = [(name, fmt.printable(value)) for name, value in pairs if value and value != fmt.NOTHING]
        width = max((len(name) for name, _ in known), default=0)
        for name, value in known:
            if self.terminal:
                self.console.print(Text(f"{name:{width}}  ", style="dim").append(value, style=_style(value)))
            else:
                self.line(f"{name:{width}}  {value}")

    def table(self, columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> None:
        """Write a table; nothing is cut off in a pipe."""
        if self.terminal:
            self._drawn(columns, rows)
            return
        cells = [[column.heading for column in columns]]
        cells += [[self._cell(column, row.get(column.key)) for column in columns] for row in rows]
        widths = [max(cell_len(line[i]) for line in cells) for i in range(len(columns))]
        for line in cells:
            padded = (
                _pad(cell, width, column.right) for cell, width, column in zip(line, widths, columns, strict=True)
            )
            self.line("  ".join(padded))

    def _drawn(self, columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> None:
        columns, text = self._fitting(columns, rows)
        drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold dim")
        for column in columns:
            fixed = column.kind in ("bar", "time", "seconds", "count", "state")
            drawn.add_column(
                Text(column.heading), justify="right" if column.right else "left", no_wrap=fixed, overflow="fold"
            )
        for row in rows:
            drawn.add_row(*(self._drawn_cell(column, row.get(column.key), text) for column in columns))
        self.console.print(drawn)

    def _fitting(
        self, columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]
    ) -> tuple[list[Column], Callable[[Column, Any], str]]:
        """Return the columns that fit and how values are written: short, and without spare columns, if need be."""
        chosen = list(columns)
        if self._width(chosen, rows, Column.text) <= self.console.width:
            return chosen, Column.text
        for spare in [column for column in reversed(chosen) if column.spare]:
            if self._width(chosen, rows, Column.short) <= self.console.width:
                break
            chosen.remove(spare)
        return chosen, Column.short

    def _width(
        self, columns: Sequence[Column], rows: Sequence[Mapping[str, Any]], text: Callable[[Column, Any], str]
    ) -> int:
        taken = 0
        for column in columns:
            cells = [column.heading, *(self._cell(column, row.get(column.key), text) for row in rows)]
            taken += max(map(cell_len, cells)) + 2
        return taken - 2

    def _drawn_cell(self, column: Column, value: Any, text: Callable[[Column, Any], str]) -> Text:
        if column.kind == "bar":
            bar = Text()
            for kind in value or ():
                bar.append(self.glyphs[kind], style=_STYLES.get(kind, ""))
            return bar
        cell = self._cell(column, value, text)
        return Text(cell, style=_style(cell) if column.kind == "state" else "")

    def _cell(self, column: Column, value: Any, text: Callable[[Column, Any], str] = Column.text) -> str:
        if column.kind == "bar":
            bar = "".join(self.glyphs[kind] for kind in value or ())
            return bar if self.terminal else f"|{bar}|"
        if column.kind == "tree":
            return self._tree(value)
        return text(column, value)

    def _tree(self, leaf: timeline.Leaf) -> str:
        name = fmt.written(leaf.row["job_type"])
        more = leaf.more[1:]  # tops stand at the margin
        if not more:
            return name
        tee, corner, bar, gap = self._branches
        return "".join(bar if level else gap for level in more[:-1]) + (tee if more[-1] else corner) + name

    def bar_width(self, columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> int:
        """Return how many cells a timeline may take beside these columns."""
        if not self.terminal:
            return PIPE_BAR_WIDTH
        room = self.console.width - self._width(columns, rows, Column.text) - 2
        if room < _LEAST_BAR_WIDTH:  # the table will write short
            needed = [column for column in columns if not column.spare]
            room = self.console.width - self._width(needed, rows, Column.short) - 2
        return min(max(room, _LEAST_BAR_WIDTH), _MOST_BAR_WIDTH)

    def legend(self) -> str:
        """Return what the cells of a bar mean."""
        kinds = (
            (timeline.DELAY, "delay"),
            (timeline.WAIT, "wait"),
            (timeline.RUN, "run"),
            (timeline.FAILED, "failed run"),
        )
        return "  ".join(f"{self.glyphs[kind]} {meaning}" for kind, meaning in kinds)


def _style(text: str) -> str:
    return _STYLES.get(text.partition(" ")[0].rstrip(":,"), "")


def _pad(cell: str, width: int, right: bool) -> str:
    blank = " " * (width - cell_len(cell))
    return blank + cell if right else cell + blank
