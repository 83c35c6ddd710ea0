"""The embedded mode: OTLP in, chDB on a folder, a ClickHouse-compatible HTTP port out, all in one process.

For a laptop and a first look, not for production: one process, no users, no replication.
"""

from __future__ import annotations

from otjobs.backend.server.child import Server
from otjobs.backend.server.process import Endpoints, run

__all__ = ["Endpoints", "Server", "run"]
