"""Bytes under a name that chDB can read them by: its only way of inserting that says what went wrong."""

from __future__ import annotations

import contextlib
import os
import tempfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def held(data: bytes, folder: Path) -> Iterator[str]:
    """Yield a path that has the data: in memory where the system can, else a file in the folder.

    Raises:
        OSError: there is no room for it.
    """
    if hasattr(os, "memfd_create"):
        with open(os.memfd_create("otjobs"), "wb") as file:  # noqa: PTH123  (a descriptor)
            file.write(data)
            file.flush()
            yield f"/proc/self/fd/{file.fileno()}"
    else:
        with tempfile.NamedTemporaryFile(dir=folder, prefix="otjobs-") as file:
            file.write(data)
            file.flush()
            yield file.name
