"""Who has a chDB folder open: one process at a time can, and chDB writes a line of its own where a second one tries."""

from __future__ import annotations

import fcntl
import os
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_PROCESS: Final = re.compile(r"PID:\s*(\d+)")


def other_owner(folder: Path) -> str:
    """Return the other process that has a folder open, like `process 4711`, or '' where there is none."""
    status = folder / "status"  # ClickHouse's own: locked while the folder is open
    try:
        with status.open("rb") as opened:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        process = _process(status)
        return "" if process == str(os.getpid()) else f"process {process}" if process else "another process"
    except OSError:
        return ""
    return ""


def _process(status: Path) -> str:
    try:
        found = _PROCESS.search(status.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return ""
    return found[1] if found else ""
