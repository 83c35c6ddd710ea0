"""`otjobs forget`: delete every job with a label."""

from __future__ import annotations

from dataclasses import asdict

import click

from otjobs.backend.cli.frame import json_option, opened, url_option
from otjobs.backend.cli.screen import say, say_document
from otjobs.backend.store.forget import forget as delete
from otjobs.errors import ConfigurationError


@click.command()
@click.option("--label", required=True, metavar="NAME=VALUE", help="Whose jobs to delete, like customer=42.")
@click.option("--dry-run", is_flag=True, help="Say how much it is, and delete nothing.")
@json_option
@url_option
def forget(label: str, dry_run: bool, as_json: bool) -> None:
    """Delete the jobs with a label, for good.

    Their spans, attempts and workflows go. Counts in minute tables, and rows of workflows that other jobs share, name
    nobody and stay as they were. Spans that arrive later bring jobs back: stop sending them first. Needs an account
    that may change the tables.

    Example:
      otjobs forget --label customer=42 --dry-run
      otjobs forget --label customer=42
    """
    name, equals, value = label.partition("=")
    if not equals or not name:
        raise ConfigurationError(f"{label!r} is no label; write --label customer=42")
    with opened() as store:
        found = delete(store, name, value, dry=dry_run)
    if as_json:
        say_document({**asdict(found), "deleted": not dry_run})
        return
    did = "would delete" if dry_run else "deleted"
    say(
        f"{did} {found.spans} spans, {found.jobs} jobs with {found.attempts} attempts, {found.workflows} workflows; "
        f"{found.shared_workflows} workflows that other jobs share keep their row"
    )


COMMANDS = (forget,)
