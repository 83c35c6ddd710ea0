"""OpenTelemetry tracing for Python job queues.

Zero-code: `opentelemetry-instrument celery -A app worker`. Home-made queues: `dispatching` and `executing`.
"""

from __future__ import annotations

from otjobs._version import __version__
from otjobs.api import dispatching, ended, executing
from otjobs.composites import composite
from otjobs.errors import OtjobsError
from otjobs.execution import current_execution
from otjobs.job_labels import labels
from otjobs.sdk.lifecycle import flush
from otjobs.triggers import trigger

__all__ = [  # noqa: RUF022  (grouped by use)
    # Tracing a queue
    "dispatching",
    "executing",
    "ended",
    "composite",
    # What jobs carry
    "labels",
    "trigger",
    "current_execution",
    # The process
    "flush",
    "OtjobsError",
    "__version__",
]
