"""What all subcommands stand on: the address of the database, how it is opened, and errors as one line."""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from otjobs.backend.cli.screen import say
from otjobs.backend.store import connect
from otjobs.backend.store.address import checked
from otjobs.backend.store.migrate import refuse_newer
from otjobs.errors import OtjobsError, RightsError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otjobs.backend.store import Store

DEFAULT_URL: Final = "http://127.0.0.1:8123/otjobs"


def _remember_url(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    if value:
        ctx.find_root().meta["otjobs.url"] = value


def url_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `--url`; the option stands before or after the subcommand."""
    option = click.option(
        "--url",
        metavar="URL",
        expose_value=False,
        callback=_remember_url,
        help="The database: http(s)://user:password@host:port/database or chdb:///folder. "
        f"Default: $OTJOBS_URL, else {DEFAULT_URL}",
    )
    return option(command)


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document for programs.")


class Failure(click.ClickException):
    """An error of otjobs on standard error: one line, and those that it brings along; exit status 1."""

    exit_code = 1

    def show(self, file: Any = None) -> None:  # noqa: ARG002  (click names it)
        """Print it."""
        say(f"otjobs: {self.format_message()}", err=True)
        for line in getattr(self.__cause__, "lines", ()):
            say(line, err=True)


class Group(click.Group):
    """A command group that turns every OtjobsError into a `Failure`."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the chosen subcommand."""
        try:
            return super().invoke(ctx)
        except OtjobsError as error:
            raise Failure(str(error)) from error


def url() -> str:
    """Return the address of the database that this call is about."""
    given = click.get_current_context().find_root().meta.get("otjobs.url")
    return str(given or os.environ.get("OTJOBS_URL") or DEFAULT_URL)


@contextmanager
def opened(*, needs_schema: bool = True) -> Iterator[Store]:
    """Open the database for one command.

    Args:
        needs_schema: the views must be there.

    Raises:
        StoreError: nobody answers, or there is nothing of otjobs in it yet.
    """
    address = url()
    parts = checked(address)
    folder = Path(parts.folder)
    if needs_schema and parts.scheme == "chdb" and not folder.is_dir():
        raise StoreError(f"there is no folder {folder}; make one with: otjobs up --data {folder}")
    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)  # our errors say it
    store = connect(address)
    try:
        if needs_schema and not store.has_table("jobs"):
            _refuse_without_rights(store)
            raise StoreError(
                f"the database {store.database} at {store.url} has no tables of otjobs yet; "
                "make them with: otjobs migrate"
            )
        if needs_schema:
            refuse_newer(store)
        yield store
    finally:
        store.close()


def _refuse_without_rights(store: Store) -> None:
    """Raise where the tables are there and the account sees none of them."""
    try:
        store.query(store.sql("store", "jobs_there"))
    except RightsError:
        raise
    except StoreError:
        return
