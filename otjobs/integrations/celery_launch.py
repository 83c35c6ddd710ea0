"""Imported by the launcher `opentelemetry-instrument`: asks for gevent before the SDK where Celery's pool needs it.

The launcher imports every module of the group `opentelemetry_environment_variables` before it starts the command, and
the command inherits its environment.
"""

from __future__ import annotations

import os
import sys

from otjobs.errors import guard
from otjobs.integrations.celery_green import GEVENT_PATCH, green_pool

with guard("the pool of a Celery worker could not be told"):
    if green_pool(sys.argv) == "gevent":
        os.environ.setdefault(GEVENT_PATCH, "patch_all")
