"""ClickHouse and chDB behind one client; migrations; named queries."""

from __future__ import annotations

from otjobs.backend.store.client import Result, Store, connect

__all__ = ["Result", "Store", "connect"]
