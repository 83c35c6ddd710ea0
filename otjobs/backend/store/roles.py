"""Accounts and their rights: one definition, `otjobs/backend/sql/roles/accounts.sql`, as SQL or as a users.d file."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape, quoteattr

from otjobs.backend.store.address import DATABASE
from otjobs.backend.store.sql_files import read, render, statements, unfolded
from otjobs.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from otjobs.backend.store.client import Store

PASSWORDS: Final = {
    "owner": "OTJOBS_OWNER_PASSWORD",
    "writer": "OTJOBS_WRITER_PASSWORD",
    "reader": "OTJOBS_READER_PASSWORD",
}
"""The environment variable that holds each account's password, unless said otherwise."""

_ACCOUNT: Final = re.compile(r"^-- account (\w+)(?: \([^)]*\))?: (.+)$", re.MULTILINE)
_PROFILE: Final = re.compile(r"CREATE SETTINGS PROFILE OR REPLACE \w+ SETTINGS (.+)", re.DOTALL)
_SETTING: Final = re.compile(
    r"(\w+)(?: = '?(\w+)'?)?(?: MIN (\w+))?(?: MAX (\w+))?( CHANGEABLE_IN_READONLY)?(?:,\s*|$)"
)
_GRANT: Final = re.compile(r"(GRANT .+) TO \w+")


def grant(store: Store, passwords: Mapping[str, str]) -> None:
    """Make the accounts `otjobs_writer` and `otjobs_reader`, or set their passwords and rights anew.

    Args:
        store: the database, as an account that may make others.
        passwords: by role; only their hashes are sent.

    Raises:
        QueryError: the account may not, or the server is configured by files alone.
    """
    hashes = {f"{role}_sha256": hashlib.sha256(word.encode()).hexdigest() for role, word in passwords.items()}
    for role, _, part in _parts():
        if role not in passwords:
            continue
        for sql in statements(part):
            try:
                store.command(render(sql, database=store.database, **hashes))
            except QueryError as error:
                raise QueryError(
                    f"cannot make the account otjobs_{role}: {error}; a server that takes its accounts from files "
                    "needs the file of: otjobs migrate --roles-xml FILE"
                ) from error


def users_xml(passwords: Mapping[str, str], *, databases: Sequence[str] = (DATABASE,)) -> str:
    """Return the accounts as a file for `/etc/clickhouse-server/users.d/`.

    Args:
        passwords: environment variables of the server that hold the passwords, by role; others as in `PASSWORDS`.
        databases: those of otjobs; over shards there are two.
    """
    variables = {**PASSWORDS, **passwords}
    parts = sorted(_parts(), key=lambda part: list(PASSWORDS).index(part[0]))
    about = "\n".join(f"    otjobs_{role:8}{what}" for role, what, _ in parts)
    profiles = "\n".join(text for role, _, part in parts if (text := _profile(role, part)))
    users = "\n".join(
        _USER.format(
            name=f"otjobs_{role}",
            variable=quoteattr(variables[role]),
            profile=f"otjobs_{role}" if _settings(part) else "default",
            grants="\n".join(f"                <query>{escape(text)}</query>" for text in _grants(part, databases)),
        )
        for role, _, part in parts
    )
    return _FILE.format(about=about, profiles=profiles, users=users)


def _parts() -> Iterator[tuple[str, str, str]]:
    """Yield each account's role, what it is for, and its statements."""
    _, *found = _ACCOUNT.split(unfolded(read("roles", "accounts")))
    for at in range(0, len(found), 3):
        yield found[at], found[at + 1], found[at + 2]


def _settings(part: str) -> list[tuple[str, str, str]]:
    """Return the name and value of each setting of a profile, and what bounds it, as elements of the file."""
    profile = next((match for sql in statements(part) if (match := _PROFILE.search(sql))), None)
    return [
        (name, value, _bound("min", least) + _bound("max", most) + ("<changeable_in_readonly/>" if free else ""))
        for name, value, least, most, free in (_SETTING.findall(profile[1]) if profile else [])
    ]


def _bound(name: str, value: str) -> str:
    return f"<{name}>{value}</{name}>" if value else ""


def _grants(part: str, databases: Sequence[str]) -> list[str]:
    found = [
        match[1]
        for database in databases
        for sql in statements(render(part, database=database))
        if (match := _GRANT.search(sql))
    ]
    return list(dict.fromkeys(found))


def _profile(role: str, part: str) -> str:
    settings = _settings(part)
    if not settings:
        return ""
    lines = [f"            <{name}>{value}</{name}>" for name, value, _ in settings if value]
    bounds = [f"                <{name}>{bound}</{name}>" for name, _, bound in settings if bound]
    if bounds:
        lines += ["            <constraints>", *bounds, "            </constraints>"]
    return "\n".join((f"        <otjobs_{role}>", *lines, f"        </otjobs_{role}>"))


_FILE: Final = """\
<!--
  The accounts of otjobs, for /etc/clickhouse-server/users.d/. Passwords come from the server's environment.
{about}
  Made by `otjobs migrate` (its option roles-xml) from otjobs/backend/sql/roles/accounts.sql: change that instead.
-->
<clickhouse>
    <profiles>
{profiles}
    </profiles>
    <users>
{users}
    </users>
</clickhouse>
"""
_USER: Final = """\
        <{name}>
            <password from_env={variable}/>
            <profile>{profile}</profile>
            <quota>default</quota>
            <networks><ip>::/0</ip></networks>
            <grants>
{grants}
            </grants>
        </{name}>"""
