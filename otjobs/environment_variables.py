"""Names of the environment variables that otjobs reads; each becomes a flag of `opentelemetry-instrument`."""

from __future__ import annotations

OTEL_PYTHON_OTJOBS_PROPAGATION = "OTEL_PYTHON_OTJOBS_PROPAGATION"
"""`parent` (default): an attempt continues the dispatching trace. `link`: it starts a trace of its own, linked."""

OTEL_PYTHON_OTJOBS_BEACON_AFTER = "OTEL_PYTHON_OTJOBS_BEACON_AFTER"
"""Seconds a run lasts before its start beacon is sent (default 1; 0 switches beacons off)."""

OTEL_PYTHON_OTJOBS_BEACON_INTERVAL = "OTEL_PYTHON_OTJOBS_BEACON_INTERVAL"
"""Seconds between alive beacons after the first one (default 30)."""

OTEL_PYTHON_OTJOBS_EXCEPTIONS = "OTEL_PYTHON_OTJOBS_EXCEPTIONS"
"""`type` (default), `message` or `stack`: how much of a failed job's exception is recorded."""

OTEL_PYTHON_OTJOBS_BAGGAGE_LABELS = "OTEL_PYTHON_OTJOBS_BAGGAGE_LABELS"
"""Comma-separated baggage keys that become `otjobs.label.*` (default none)."""

OTEL_PYTHON_OTJOBS_EXCLUDED_TYPES = "OTEL_PYTHON_OTJOBS_EXCLUDED_TYPES"
"""Comma-separated shell patterns of job types that are not traced (default none), e.g. `celery.*`."""

OTEL_PYTHON_OTJOBS_FLUSH_SECONDS = "OTEL_PYTHON_OTJOBS_FLUSH_SECONDS"
"""The longest a stopping process waits for its last spans to leave (default 5)."""

OTEL_PYTHON_OTJOBS_SEND_SECONDS = "OTEL_PYTHON_OTJOBS_SEND_SECONDS"
"""Seconds that a span waits for others before it leaves its process (default 1; 0: OTEL_BSP_SCHEDULE_DELAY)."""

OTEL_PYTHON_OTJOBS_FAST = "OTEL_PYTHON_OTJOBS_FAST"
"""`auto` (default): job spans take the fast path where the installed SDK is as it expects. `off`: they never do."""
