"""Environments with older OpenTelemetry SDKs for the tests of `otjobs/sdk`; a second run is a no-op.

`oldest` is the oldest version that pyproject.toml asks for, `previous` the minor version before the one in
constraints.txt. Everything but OpenTelemetry has the versions of constraints.txt where both can have them.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parent))

from cache import ROOT, cache, filling, run

SDKS: Final = {"oldest": ("1.40.0", "0.61b0"), "previous": ("1.44.0", "0.65b0")}
"""The version of the SDK and exporters, and that of instrumentations."""
_STABLE: Final = ("api", "sdk", "exporter-otlp")
_UNSTABLE: Final = ("instrumentation", "distro", "instrumentation-celery")
_TESTS: Final = ("celery", "eventlet", "gevent", "hypothesis", "pytest", "pytest-timeout", "wrapt")
_PINNED_BY_OPENTELEMETRY: Final = ("opentelemetry", "protobuf", "grpcio", "googleapis", "wrapt", "importlib")


def folder(which: str) -> Path:
    """Return the environment's folder, there or not."""
    return cache() / f"sdk-{SDKS[which][0]}-py{sys.version_info[0]}{sys.version_info[1]}"


def python(which: str) -> Path:
    """Return the environment's interpreter."""
    return folder(which) / "bin" / "python"


def fetch(which: str) -> Path:
    """Make the environment if the cache has none, and return its folder.

    Raises:
        SystemExit: pip could not get the packages.
    """
    target = folder(which)
    if target.exists():
        return target
    stable, unstable = SDKS[which]
    names = [f"opentelemetry-{name}=={stable}" for name in _STABLE]
    names += [f"opentelemetry-{name}=={unstable}" for name in _UNSTABLE]
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    kept = [pin for pin in pins if not pin.startswith(_PINNED_BY_OPENTELEMETRY)]
    with filling(target) as work, tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
        constraints.write("\n".join(kept))
        constraints.flush()
        run([sys.executable, "-m", "venv", work])
        run([work / "bin" / "python", "-m", "pip", "install", "-q", "-c", constraints.name, *names, *_TESTS])
    return target


if __name__ == "__main__":
    for one in SDKS:
        print(fetch(one))
