"""The data folder belongs to its user alone: spans hold names, ids and error texts of the user's jobs."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from otjobs.errors import ServerError

if TYPE_CHECKING:
    from pathlib import Path

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
# What chDB makes in each of its folders.
_OURS: Final = "store"


def keep_private(folder: Path) -> None:
    """Make the folder where it is not there, and take the rights of all others away.

    Raises:
        ServerError: it cannot be made or kept private, or others can read it and it holds things that are not ours.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = folder.stat()
    except OSError as error:
        raise ServerError(f"cannot make the data folder {folder}: {error.strerror or error}") from error
    if not found.st_mode & _OTHERS:
        return
    if not (folder / _OURS).exists() and any(entry.name != "lost+found" for entry in folder.iterdir()):
        raise ServerError(
            f"the data folder {folder} holds other things and can be reached by other users; "
            "choose a folder of its own with --data, or take their rights away first (chmod 700)"
        )
    try:
        folder.chmod(stat.S_IMODE(found.st_mode) & ~_OTHERS)
    except OSError as error:
        raise ServerError(
            f"the data folder {folder} can be reached by other users, and that cannot be changed ({error.strerror}); "
            f"it belongs to user {found.st_uid}, this process runs as {os.geteuid()}: choose another with --data"
        ) from error
