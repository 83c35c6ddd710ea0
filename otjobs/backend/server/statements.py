"""The SQL texts of the embedded server, and what it takes to give them values."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

# ClickHouse reads the values of parameters in its escaped form.
_ESCAPES: Final = str.maketrans({"\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\0": "\\0"})


def statement(name: str) -> str:
    """Return the text of `otjobs/backend/sql/server/{name}.sql`."""
    return (resources.files("otjobs.backend") / "sql" / "server" / f"{name}.sql").read_text(encoding="utf-8")


def escaped(text: str) -> str:
    """Return a text as the value of a parameter."""
    return text.translate(_ESCAPES)


def quoted(text: str) -> str:
    """Return a text as a literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def lines(handle: Any, name: str, params: Mapping[str, str] | None = None) -> list[str]:
    """Return the values of a statement with one column."""
    found = handle.query(statement(name), "TSVRaw", params=dict(params or {})).bytes() or b""
    return found.decode().splitlines()
