"""What a database remembers about itself, such as how long things are kept: names and values in `otjobs_settings`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from otjobs.backend.store.client import Store


def settings(store: Store) -> dict[str, str]:
    """Return all settings."""
    return {str(name): str(value) for name, value in store.query(store.sql("settings", "get")).rows}


def set_setting(store: Store, name: str, value: str) -> None:
    """Write a setting; the newest value counts."""
    store.command(store.sql("settings", "set"), {"name": name, "value": value})
