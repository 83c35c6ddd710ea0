"""The spans of jobs, in one import for the integrations."""

from __future__ import annotations

from otjobs.carrier import job_from
from otjobs.dispatch import Dispatch
from otjobs.elsewhere import ended_elsewhere
from otjobs.execution import Execution, current_execution

__all__ = ["Dispatch", "Execution", "current_execution", "ended_elsewhere", "job_from"]
