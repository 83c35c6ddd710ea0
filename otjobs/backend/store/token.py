"""The owner's token of an embedded server: what lets this user's own commands write, and nobody else on the machine.

A server makes a new one at each start. It stands in the data folder, and by port in a folder of this user, where the
commands that know the port alone find it. Both files can be read by this user only.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path
from typing import Final

OWNER: Final = "owner"
"""The user name on the SQL port that the token belongs to."""

FILE: Final = "owner.token"
_PRIVATE: Final = 0o600


def new_token() -> str:
    """Return a token that cannot be guessed."""
    return secrets.token_urlsafe(32)


def write_private(path: Path, text: str) -> None:
    """Write a file that only this user can read, also where it was there before.

    Raises:
        OSError: it cannot be written.
    """
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE), "w", encoding="ascii") as file:  # noqa: PTH123
        file.write(text + "\n")


def remember(port: int, token: str) -> None:
    """Keep the token of the server on a port where this user's commands look for it.

    Raises:
        OSError: it cannot be written.
    """
    path = _path(port)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_private(path, token)


def forget(port: int, token: str) -> None:
    """Remove it, unless a later server has the port."""
    if known(port) == token:
        with contextlib.suppress(OSError):
            _path(port).unlink()


def known(port: int) -> str:
    """Return the token of this user's embedded server on a port of this machine, or ''."""
    try:
        with _path(port).open(encoding="ascii") as file:
            found = os.fstat(file.fileno())
            if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
                return ""  # not written by a server of this user
            return file.read(200).strip()
    except (OSError, ValueError, RuntimeError):
        return ""


def _path(port: int) -> Path:
    state = os.environ.get("XDG_STATE_HOME") or ""
    folder = Path(state) if state.startswith("/") else Path.home() / ".local" / "state"
    return folder / "otjobs" / f"{port}.token"
