"""The wall clock that every time of ours is read from."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

source: Callable[[], int] = time.time_ns
"""What tells the time, unix ns; `otjobs.testing` replaces it. Where every job passes it is called itself."""


def now() -> int:
    """Return the current time in unix ns."""
    return source()
