"""Fetch clients of RabbitMQ with their OpenTelemetry instrumentations for the tests; a second run is a no-op.

They lie in a folder of their own: their instrumentations ask for exact versions of OpenTelemetry, which may not be
those that otjobs is developed with. They run with those all the same.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from cache import cache, filling, run

PACKAGES = {
    "aio-pika": "10.2.1",
    "aiormq": "7.2.4",
    "fast-depends": "3.0.9",
    "faststream": "0.7.8",
    "opentelemetry-instrumentation-aio-pika": "0.66b1",
    "opentelemetry-instrumentation-pika": "0.66b1",
    "pamqp": "4.0.1",
    "pika": "1.4.4",
}


def folder() -> Path:
    """Return the folder for PYTHONPATH, there or not."""
    return cache() / f"rabbitmq-clients-{PACKAGES['pika']}-{PACKAGES['aio-pika']}-{PACKAGES['faststream']}"


def fetch() -> Path:
    """Fetch the packages if the cache has none, and return `folder()`.

    Raises:
        SystemExit: pip could not get them.
    """
    target = folder()
    if not target.exists():
        with filling(target) as work:
            names = [f"{name}=={version}" for name, version in PACKAGES.items()]
            run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", work, *names])
    return target


if __name__ == "__main__":
    print(fetch())
