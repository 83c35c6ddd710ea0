"""The accounts of `otjobs migrate`: its options about them, the passwords, and making them here or in a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from otjobs.backend.store.address import DATABASE
from otjobs.backend.store.cluster import databases, local_name
from otjobs.backend.store.roles import PASSWORDS, grant, users_xml
from otjobs.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otjobs.backend.store import Store


def account_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options `--roles`, `--writer-password-env`, `--reader-password-env` and `--roles-xml`."""
    xml_option = click.option(
        "--roles-xml",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Write the accounts as a users.d file for a server that is configured by files, and do nothing else.",
    )
    command = xml_option(command)
    for role in ("reader", "writer"):
        password_option = click.option(
            f"--{role}-password-env",
            default=PASSWORDS[role],
            show_default=True,
            metavar="NAME",
            help=f"The environment variable with the {role}'s password.",
        )
        command = password_option(command)
    roles_option = click.option("--roles", is_flag=True, help="Make the accounts otjobs_writer and otjobs_reader, too.")
    return roles_option(command)


def passwords(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the passwords by role, from these environment variables.

    Raises:
        ConfigurationError: one of them holds none.
    """
    return {role: _password(name) for role, name in variables.items()}


def _password(name: str) -> str:
    found = os.environ.get(name)
    if not found:
        raise ConfigurationError(f"the environment variable {name} holds no password; set it, then call this again")
    return found


def write(file: Path, variables: Mapping[str, str], *, over_shards: bool) -> None:
    """Write the accounts as a file for a server that takes its accounts from files.

    Raises:
        ConfigurationError: it cannot be written.
    """
    both = (DATABASE, local_name(DATABASE)) if over_shards else (DATABASE,)
    try:
        file.write_text(users_xml(variables, databases=both), encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"cannot write the file {file} of --roles-xml: {error.strerror}") from error


def make(store: Store, secrets: Mapping[str, str]) -> None:
    """Make the accounts in the database, on all hosts where it lies over shards."""
    if secrets:
        with databases(store) as each:
            for database in each:
                grant(database, secrets)
