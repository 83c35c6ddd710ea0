"""How long each layer is kept: whole days, as partition TTLs and in `otjobs_settings`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from otjobs.backend.store.settings import set_setting, settings
from otjobs.backend.store.sql_files import statements
from otjobs.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from otjobs.backend.store.client import Store

LAYERS: Final = ("spans", "jobs", "workflows", "minutes")
"""What has a retention of its own, each in `otjobs/backend/sql/retention/LAYER.sql`."""

FOREVER: Final = 0
_LONGEST: Final = 13_000
_DAYS: Final = {"d": 1, "w": 7, "y": 365}
_TABLE: Final = re.compile(r"^ALTER TABLE \w+\.(\w+)", re.MULTILINE)
_LENGTH: Final = re.compile(r"(\d{1,5})\s*([dwy])")


@dataclass(frozen=True, slots=True)
class Horizons:
    """From which day on (UTC, at midnight) jobs are taken, jobs are kept, and spans are kept; 1970-01-02 is always."""

    jobs_taken_from: datetime
    jobs_kept_from: datetime
    spans_kept_from: datetime


def days(text: str) -> int:
    """Return a length of time like `14d`, `8w`, `2y` or `forever` in days; a year has 365, `forever` is 0.

    Raises:
        ConfigurationError: it is none, or shorter than a day, or longer than 35 years.
    """
    if text.strip() == "forever":
        return FOREVER
    match = _LENGTH.fullmatch(text.strip())
    found = int(match[1]) * _DAYS[match[2]] if match else 0
    if not 1 <= found <= _LONGEST:
        raise ConfigurationError(f"{text!r} is no length of time to keep something; write 14d, 8w, 2y or forever")
    return found


def retention(store: Store) -> dict[str, int]:
    """Return how many days each layer is kept; 0 is for ever."""
    found = settings(store)
    return {layer: int(found.get(f"keep_{layer}_days", FOREVER)) for layer in LAYERS}


def horizons(store: Store) -> Horizons:
    """Return how far back jobs and spans reach now."""
    return Horizons(*store.query(store.sql("retention", "horizons")).rows[0])


def keep(store: Store, wanted: Mapping[str, int], *, again: bool = False) -> dict[str, int]:
    """Change how many days layers are kept; what is kept already for so long is left alone.

    Args:
        store: a database with the schema.
        wanted: days by layer; 0 is for ever.
        again: set the TTLs of every layer anew, for tables that a migration added.

    Returns:
        The layers that changed, with their days.
    """
    have = retention(store)
    changed = {layer: length for layer, length in wanted.items() if have[layer] != length}
    after = have | changed
    if changed:
        store.command(store.sql("retention", "remember_horizons"))
    for layer, length in changed.items():
        set_setting(store, f"keep_{layer}_days", str(length))
    for layer in LAYERS:
        if layer in changed or (again and after[layer]):
            for sql in statements(store.sql("retention", layer, days=str(after[layer] or _LONGEST))):
                # A table that a later migration makes gets its TTL then.
                table = _TABLE.search(sql)
                if table and store.has_table(table[1]):
                    store.command(sql)
    return changed
