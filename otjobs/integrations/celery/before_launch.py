"""Imported by the launcher `opentelemetry-instrument`: has green pools prepared before the SDK.

The launcher imports every module of the group `opentelemetry_environment_variables` before it starts the command, and
the command inherits its environment.
"""

from __future__ import annotations

import sys

from otjobs.faults import guard
from otjobs.integrations.celery import green_pools

with guard("the pool of a Celery worker could not be told"):
    green_pools.choose_distro(sys.argv)
