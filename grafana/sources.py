"""The SQL of panels and alerts: files of `grafana/sql` with the shared pieces of `grafana/sql/parts` put in."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent / "sql"
ALERT_LOOKBACK_DAYS: Final = 7
"""Alerts read jobs dispatched at most this long before their time range."""

_PIECE: Final = re.compile(r"(?<!\$)\{(\w+)\}")  # `${name}` is Grafana's own


def panel_sql(name: str) -> str:
    """Return the SQL of `grafana/sql/{name}.sql` for a dashboard, where variables choose the jobs."""
    return _filled(FOLDER / f"{name}.sql", {"lookback": "${lookback}"}, {})


def alert_sql(name: str) -> str:
    """Return the SQL of `grafana/sql/{name}.sql` for an alert, which is about every job."""
    return _filled(FOLDER / f"{name}.sql", {"lookback": str(ALERT_LOOKBACK_DAYS)}, {"scope": "everything"})


def _filled(path: Path, values: dict[str, str], instead: dict[str, str]) -> str:
    lines = path.read_text(encoding="utf-8").strip().splitlines()
    # The comment on top says what the file is for; Grafana's editors need only the statement.
    text = "\n".join(line for line in lines if not line.startswith("--"))

    def piece(found: re.Match[str]) -> str:
        name = found[1]
        if name in values:
            return values[name]
        return _filled(FOLDER / "parts" / f"{instead.get(name, name)}.sql", values, instead)

    return _PIECE.sub(piece, text)
