"""Celery's unit tests, and its integration tests of workflows on Redis."""

from __future__ import annotations

from peers.services import redis
from peers.suite import Suite

INSTRUMENTOR = "otjobs.integrations.celery:CeleryInstrumentor"
NEEDED = ("freezegun==1.5.5", "pytest-click==1.1.0", "pytest-order==1.5.0")
RERUNS = "pytest-rerunfailures==16.7"  # beside pytest-xdist it keeps a thread, and the unit tests want none


UNIT = Suite(
    name="celery-unit",
    distribution="celery",
    instrumentor=INSTRUMENTOR,
    needed=NEEDED,
    tests=("t/unit",),
    # That file alone, with 26,000 of 28,000 subtests, takes longer than all others.
    part=("t/unit", "--ignore=t/unit/tasks/test_stamping.py"),
    # Celery's tests want no thread to be left over, and the one that sends beacons stays.
    # Some start a worker, which is not done as root unless it is said.
    environment={"OTEL_PYTHON_OTJOBS_BEACON_AFTER": "0", "C_FORCE_ROOT": "1"},
    options=("-p", "celery.contrib.pytest", "--timeout=120"),
)
CANVAS = Suite(
    name="celery-canvas",
    distribution="celery",
    instrumentor=INSTRUMENTOR,
    needed=(*NEEDED, RERUNS),
    tests=("t/integration/test_canvas.py", "t/integration/test_group_chains.py", "t/integration/test_tasks.py"),
    part=(),
    services=redis,
    options=("-p", "celery.contrib.pytest", "--timeout=300"),
)
SUITES = (UNIT, CANVAS)
