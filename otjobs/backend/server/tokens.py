"""The tokens of a running server: the owner's, and for callers from other machines one to send and to read with."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Final

from otjobs.backend.store import token
from otjobs.errors import ServerError

if TYPE_CHECKING:
    from pathlib import Path

_log = logging.getLogger("otjobs.server")

ACCESS_FILE: Final = "access.token"


class Tokens:
    """Makes the tokens and puts them where their readers look.

    Args:
        folder: the data folder.
        port: the SQL port, by which this user's commands find the owner's token.
        remote: other machines can reach the ports. Their token stays the same from start to start: it stands in the
            configuration of services.

    Raises:
        ServerError: a token for other machines is asked for and cannot be kept.
    """

    def __init__(self, folder: Path, port: int, *, remote: bool) -> None:
        self._port = port
        self.owner = token.new_token()
        try:
            self.access = self._kept(folder / ACCESS_FILE) if remote else ""
        except OSError as error:
            raise ServerError(f"cannot keep a token in {folder}: {error.strerror or error}") from error
        # A full disk is no reason not to serve what is there.
        try:
            token.write_private(folder / token.FILE, self.owner)
        except OSError as error:
            _log.warning("cannot write the owner's token into %s: %s", folder, error.strerror or error)
        try:
            token.remember(port, self.owner)
        except (OSError, RuntimeError) as error:
            _log.warning("commands on this machine will not find the owner's token by themselves: %s", error)

    def _kept(self, path: Path) -> str:
        if not path.exists():
            token.write_private(path, token.new_token())
        path.chmod(0o600)
        return path.read_text(encoding="ascii").strip()

    def close(self) -> None:
        """Take the token away from where commands look for it."""
        with contextlib.suppress(OSError, RuntimeError):
            token.forget(self._port, self.owner)
