"""The address of a database: read as people write it, and written without its password."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit

from otjobs.errors import ConfigurationError

DATABASE: Final = "otjobs"
"""The database where an address names none."""

FORM: Final = "http(s)://user:password@host:port/database or chdb:///folder"
"""How an address is written."""

_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_SECRET_PARAMETER: Final = re.compile(r"([?&][^=&#]*(?:pass|pwd|secret|token|key)[^=&#]*=)[^&#\s]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Address:
    """The parts of an address; `account` as it was written, `place` from the host on."""

    scheme: str
    account: str
    place: str

    @property
    def user(self) -> str:
        """The account's name, '' where there is none."""
        return unquote(self.account.partition(":")[0])

    @property
    def password(self) -> str:
        """The password, '' where there is none."""
        return unquote(self.account.partition(":")[2])

    @property
    def host(self) -> str:
        """The host, '' where there is none."""
        return urlsplit(f"//{self.place}").hostname or ""

    @property
    def port(self) -> int | None:
        """The port, None where there is none.

        Raises:
            ValueError: it is no number.
        """
        return urlsplit(f"//{self.place}").port

    @property
    def path(self) -> str:
        """What follows the port."""
        return urlsplit(f"//{self.place}").path

    @property
    def folder(self) -> str:
        """The path of a chDB folder."""
        return unquote(self.path)

    @property
    def database(self) -> str:
        """The database; a folder has one only."""
        return (unquote(self.path.strip("/")) if self.scheme != "chdb" else "") or DATABASE

    def at(self, host: str, path: str) -> str:
        """Return the address of another host, with this account and this port unless it names one."""
        here = re.search(r":\d+$", self.place.partition("/")[0])
        place = host if re.search(r":\d+$", host) or not here else host + here[0]
        return f"{self.scheme}://{self.account}{'@' if self.account else ''}{place}/{path}"


def read(url: str) -> Address:
    """Return the parts of an address.

    A password may hold `/`, `#`, `?` and `@` as they are: everything before the last `@` is the account.
    """
    scheme, _, rest = url.partition("://")
    account, _, place = rest.rpartition("@")
    return Address(scheme.lower(), account, place)


def checked(url: str) -> Address:
    """Return the parts of an address that can be opened.

    Raises:
        ConfigurationError: it cannot; the message says what is wrong and how to write it.
    """
    parts = read(url)
    fault = _fault(parts)
    if fault:
        raise ConfigurationError(f"the database address {public(url)!r} {fault}; write --url or OTJOBS_URL as {FORM}")
    return parts


def _fault(parts: Address) -> str:
    """Return what is wrong with an address, or ''."""
    if parts.scheme not in ("http", "https", "chdb"):
        return "begins with none of http://, https:// and chdb://"
    try:
        path = parts.path
    except ValueError as error:
        return f"cannot be read ({error})"
    if parts.scheme == "chdb":
        if parts.account:
            return "names an account, and a folder has none"
        return "" if path.strip("/") else "names no folder"
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        return "has a port that is no number from 1 to 65535"
    if not parts.host:
        return "names no host"
    if not _IDENTIFIER.fullmatch(parts.database):
        return f"names the database {parts.database!r}, and such a name has letters, digits and _"
    return ""


def public(url: str) -> str:
    """Return an address without its password, whatever is wrong with it."""
    # First, since such a value may hold an @ as well.
    scheme, separator, rest = _SECRET_PARAMETER.sub(r"\1***", url).partition("://")
    if not separator:
        scheme, rest = "", url
    account, at, place = rest.rpartition("@")
    if at and ":" in account:
        account = account.partition(":")[0] + ":***"
    elif not at and not place.startswith("["):
        # Without its @ a password stands where the port does.
        place = re.sub(r"^([^:/]*):(?!\d{0,5}(?:[/?#]|$)).*", r"\1:***", place, flags=re.DOTALL)
    return f"{scheme}{separator}{account}{at}{place}"
