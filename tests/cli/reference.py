"""Writes docs/reference/cli.md from the commands themselves: `python tests/cli/reference.py`."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import click

from otjobs.backend.cli.app import cli

FILE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "cli.md"
ORDER = (
    "demo",
    "up",
    "migrate",
    "rebuild",
    "forget",
    "doctor",
    "queues",
    "types",
    "jobs",
    "job",
    "workflows",
    "workflow",
    "sql",
)
INTRO = """\
# The command line

`pip install 'otjobs[cli]'` brings `otjobs`; `up` needs `otjobs[embedded]` and `demo` needs `otjobs[demo]`.

- **Address**: `--url`, before or after the subcommand, else `OTJOBS_URL`, else `http://127.0.0.1:8123/otjobs`.
  `http(s)://user:password@host:port/database` is a ClickHouse server or `otjobs up`; `chdb:///folder` opens a folder
  that no other process holds. A password is better kept in `OTJOBS_URL`: other users of a machine can see arguments.
- **Output**: tables, trees and bars with colours on a terminal; in a pipe aligned text, nothing cut off, no frames.
  A narrow terminal gets short ids and times and fewer columns; the short ids work as arguments.
  `--json` prints one document: numbers as numbers, times as ISO 8601 in UTC to the microsecond, unknown as `null`.
  Lists are arrays of rows; `job` is `{"jobs": [{"job", "attempts", "children", "more_children"}]}`; `workflow` is
  `{"workflow", "jobs", "attempts", "more_jobs"}`. Rows have the columns of the views.
- **Durations** for people: `420us`, `17.4ms`, `1.23s`, `2m05s`, `3h20m`, `4d02h`.
- **Bars**: `.` delay that was asked for, `-` wait, `#` run, `x` a run that failed (blocks and colours on a terminal).
- **Exit status**: 0 done, 1 an error (one line on standard error: `otjobs: ...`), 2 wrong usage, 130 interrupted.

This page is written from `otjobs --help` by `python tests/cli/reference.py`.
"""


def option(parameter: click.Parameter) -> str:
    """One line about an option or argument, independent of click's layout."""
    if isinstance(parameter, click.Argument):
        return ""
    names = ", ".join(f"`{name}`" for name in parameter.opts)
    kind = parameter.type
    value = parameter.metavar or ""
    if isinstance(kind, click.Choice):
        value = "|".join(kind.choices)
    elif not parameter.is_flag and not value:
        value = {"integer range": "N", "float range": "N"}.get(kind.name, kind.name.upper())
    shown = "" if parameter.is_flag or not parameter.show_default else f" Default: `{parameter.default}`."
    return f"- {names}{f' `{value}`' if value else ''}: {parameter.help}{shown}"


def section(name: str, command: click.Command) -> str:
    arguments = " ".join(p.metavar or f"[{p.name.upper()}]" for p in command.params if isinstance(p, click.Argument))
    paragraphs = inspect.cleandoc(command.help.replace("\b\n", "")).split("\n\n")
    text = []
    for paragraph in paragraphs:
        if re.search(r"^  ", paragraph, re.MULTILINE):
            lines = [line[2:] for line in paragraph.splitlines() if line.startswith("  ")]
            text.append("```sh\n" + "\n".join(lines) + "\n```")
        else:
            text.append(paragraph)
    options = "\n".join(filter(None, map(option, command.params)))
    heading = f"## otjobs {name} {arguments}".rstrip()
    return "\n\n".join([heading, *text, options]) + "\n"


def page() -> str:
    return "\n".join([INTRO, *(section(name, cli.commands[name]) for name in ORDER)])


if __name__ == "__main__":
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(page(), encoding="utf-8")
