"""The name of a worker whose library gives it none."""

from __future__ import annotations

import os
import socket

from otjobs.texts import bounded

_worker: tuple[int, str] = (0, "")


def default_worker() -> str:
    """Return `host:pid` of this process."""
    global _worker  # noqa: PLW0603  (a cache that must notice a fork)
    pid = os.getpid()
    if _worker[0] != pid:
        _worker = (pid, bounded(f"{socket.gethostname()}:{pid}"))
    return _worker[1]
