"""`otjobs migrate`: tables and views of this version."""

from __future__ import annotations

import click

from otjobs.cli.app import json_option, opened, url_option
from otjobs.cli.values import document
from otjobs.store.migrate import applied, migrations
from otjobs.store.migrate import migrate as bring_up


@click.command()
@click.option(
    "--definer",
    default="CURRENT_USER",
    show_default=True,
    metavar="ACCOUNT",
    help="The permanent account with whose rights the views run.",
)
@json_option
@url_option
def migrate(definer: str, as_json: bool) -> None:
    """Make or update the tables and views.

    A second call changes nothing. The database is made if it is not there. One that a newer otjobs has migrated is
    refused. `otjobs up` does this by itself.

    Example:
      otjobs migrate --url http://default:secret@clickhouse:8123/otjobs
    """
    with opened(needs_schema=False) as store:
        done = bring_up(store, definer=definer)
        names = {version: name for version, name, _ in migrations()}
        now = max(applied(store), default=0)
        if as_json:
            click.echo(document({"database": store.database, "applied": done, "version": now}))
            return
        for version in done:
            click.echo(f"applied {version:03d} {names[version]}")
        state = "is now" if done else "was already"
        click.echo(f"database {store.database} at {store.url} {state} at schema version {now}")


COMMANDS = (migrate,)
