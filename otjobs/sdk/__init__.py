"""Everything that knows the inside of the OpenTelemetry SDK: cheap spans and encoding, exporters, forks, exits."""

from __future__ import annotations
