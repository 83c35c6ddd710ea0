"""RQ's own tests, with real workers on a Redis server at its usual port."""

from __future__ import annotations

from peers.services import redis_on_its_port
from peers.suite import Suite

ALL = Suite(
    name="rq",
    distribution="rq",
    instrumentor="otjobs.integrations.rq:RQInstrumentor",
    needed=(),
    tests=("tests",),
    part=("tests/test_queue.py", "tests/test_job.py", "tests/test_retry.py", "tests/test_registry.py"),
    environment={"RUN_SLOW_TESTS_TOO": "1"},
    services=redis_on_its_port,
    alone=True,
    options=("--timeout=120",),
)
SUITES = (ALL,)
