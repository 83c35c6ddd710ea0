"""Statements with parameters, as a chDB handle takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from otjobs.backend.store.sql_files import read

if TYPE_CHECKING:
    from collections.abc import Mapping

# ClickHouse reads the values of parameters in its escaped form.
_ESCAPES: Final = str.maketrans({"\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\0": "\\0"})


def escaped(text: str) -> str:
    """Return a text as the value of a parameter."""
    return text.translate(_ESCAPES)


def lines(handle: Any, name: str, params: Mapping[str, str] | None = None) -> list[str]:
    """Return the values that a statement of `sql/server` with one column gives."""
    found = handle.query(read("server", name), "TSVRaw", params=dict(params or {})).bytes() or b""
    return found.decode().splitlines()
