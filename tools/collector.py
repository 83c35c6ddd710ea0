"""Build the collector from collector/builder.yaml; a second run is a no-op."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from cache import ROOT, cache, filling, run

BUILDER = "go.opentelemetry.io/collector/cmd/builder@v0.161.0"
SOURCE = ROOT / "collector"
MODULES = ("linkattributes", "nestinglimit")
"""The folders of our own parts."""


def binary() -> Path:
    """Return where the binary of this manifest is, or will be.

    The folder's name holds a hash of the manifest, our parts and the builder, so that a change of any builds anew.
    """
    files = [SOURCE / "builder.yaml", *(file for name in MODULES for file in sorted((SOURCE / name).iterdir()))]
    key = hashlib.sha256(b"\0".join([BUILDER.encode(), *(file.read_bytes() for file in files)])).hexdigest()[:12]
    return cache() / f"collector-{key}" / "otjobs-otelcol"


def build() -> Path:
    """Build the collector if the cache has none of this manifest, and return its binary."""
    found = binary()
    if found.exists():
        return found
    builder = cache() / BUILDER.replace("/", "_")
    if not builder.exists():
        with filling(builder) as work:
            run(["go", "install", BUILDER], env={"GOBIN": str(work)})
    with filling(found.parent) as work:
        shutil.copy(SOURCE / "builder.yaml", work / "builder.yaml")
        for name in MODULES:
            shutil.copytree(SOURCE / name, work / name)
        run([builder / "builder", "--config", "builder.yaml"], cwd=work, env={"CGO_ENABLED": "0"})
        os.replace(work / "_build" / found.name, work / found.name)
        for name in ("_build", *MODULES):
            shutil.rmtree(work / name)
    return found


if __name__ == "__main__":
    print(build())
