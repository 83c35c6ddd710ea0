r"""Capture jobs in tests, and make the rows that a database holds of them.

::

    with capture_jobs() as captured:
        my_task.apply()
    assert captured.tree() == "dispatch my_task\n  execute my_task"
"""

from __future__ import annotations

from otjobs.testing.capture import Captured, CountingIds, TickingClock, capture_jobs
from otjobs.testing.rows import job_span_row

__all__ = ["Captured", "CountingIds", "TickingClock", "capture_jobs", "job_span_row"]
