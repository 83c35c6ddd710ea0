"""One harness file per queue library."""

from __future__ import annotations

import importlib
from pathlib import Path

NAMES = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))


def load(name):
    """Return the harness of a library."""
    return importlib.import_module(f"libraries.{name}").LIBRARY
