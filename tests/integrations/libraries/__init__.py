"""One harness file per queue library."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from application.library import Library

NAMES = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))


def load(name: str) -> Library:
    """Return the harness of a library."""
    found: Library = importlib.import_module(f"libraries.{name}").LIBRARY
    return found
