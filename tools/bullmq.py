"""Fetch BullMQ and its OpenTelemetry add-on for the tests, from npm; a second run is a no-op.

Versions are pinned here and not in a lock file, which would name the registry it was made with.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from cache import cache, filling, run

PACKAGES = {
    "bullmq": "6.7.0",
    "bullmq-otel": "2.0.1",
    "ioredis": "6.0.0",
    "@opentelemetry/api": "1.9.1",
    "@opentelemetry/exporter-trace-otlp-http": "0.223.1",
    "@opentelemetry/resources": "2.12.0",
    "@opentelemetry/sdk-trace-node": "2.12.0",
}


def modules() -> Path:
    """Return the folder for NODE_PATH, there or not."""
    return cache() / f"bullmq-{PACKAGES['bullmq']}-{PACKAGES['bullmq-otel']}" / "node_modules"


def fetch() -> Path:
    """Fetch the packages if the cache has none, and return `modules()`.

    Raises:
        SystemExit: there is no Node.js, or npm could not get them.
    """
    target = modules().parent
    if not target.exists():
        if not shutil.which("node") or not shutil.which("npm"):
            raise SystemExit("BullMQ runs on Node.js; install node and npm 20 or newer")
        with filling(target) as folder:
            names = [f"{name}@{version}" for name, version in PACKAGES.items()]
            run(
                [
                    "npm",
                    "install",
                    "--no-audit",
                    "--no-fund",
                    "--no-package-lock",
                    "--ignore-scripts",
                    "--prefix",
                    folder,
                    *names,
                ]
            )
    return modules()


if __name__ == "__main__":
    print(fetch())
