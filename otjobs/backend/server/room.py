"""Keeps some of a disk free for the merges of what is stored.

A merge that meets a full disk can leave a part of which files are empty, in place of good ones (seen with chDB 26.9).
So nothing is stored once there is only that much room left that merges have not reserved, and the senders keep it.
"""

from __future__ import annotations

import errno
import os
import shutil
from typing import TYPE_CHECKING, Any, Final

from otjobs.backend.server.parameters import lines

if TYPE_CHECKING:
    from pathlib import Path

LEAST_SHARE: Final = 8
"""The part of the disk that stays free: an eighth, and at most `LEAST_BYTES`."""
LEAST_BYTES: Final = 1 << 30


def check(handle: Any, folder: Path, size: int) -> None:
    """Look whether a block of that many bytes may be stored.

    Args:
        handle: chDB's, on the folder.
        folder: the data folder.
        size: of the block; what the views make of it is about as much again.

    Raises:
        OSError: ENOSPC.
    """
    disk = shutil.disk_usage(folder)
    kept = min(disk.total // LEAST_SHARE, LEAST_BYTES) + 2 * size
    if disk.free > 4 * kept:  # far from full: the question below costs more than this one
        return
    if disk.free < kept or int(lines(handle, "unreserved")[0]) < kept:
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}: {kept >> 20} MiB stay free for merges", str(folder))
