"""The command `otjobs`: its help, and every subcommand registered."""

from __future__ import annotations

import inspect
import re

import click

from otjobs._version import __version__
from otjobs.backend.cli import demo, details, doctor, forget, migrate, rebuild, sql, tables, up
from otjobs.backend.cli.frame import Group, url_option


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="otjobs")
@url_option
def cli() -> None:
    """See what your job queues do: waits, runs, retries, failures and whole workflows, from OpenTelemetry spans.

    First look, on nothing but Python:
      otjobs demo
    A place for your own service's spans, on a laptop:
      otjobs up
    Then ask:
      otjobs queues
      otjobs jobs --state failed
      otjobs job ID
      otjobs workflow ID

    Every command that reads takes --url (before or after its name) and most take --json.
    """


def keep_layout(text: str) -> str:
    """Return help in which a paragraph with indented lines is not wrapped: click's mark for that goes before it."""
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join("\b\n" + p if re.search(r"^  ", p, re.MULTILINE) else p for p in paragraphs)


for _module in (demo, up, migrate, rebuild, forget, doctor, tables, details, sql):
    for _command in _module.COMMANDS:
        _command.help = keep_layout(_command.help or "")
        cli.add_command(_command)
cli.help = keep_layout(cli.help or "")
