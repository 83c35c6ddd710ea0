"""Fetch and build the real parts that the tests use: `make services`.

Everything goes to `$OTJOBS_CACHE` (`~/.cache/otjobs`), keyed by version; a second run finds it there and does nothing.

* the collector, built from `collector/builder.yaml` with the OpenTelemetry collector builder (needs Go)
* a ClickHouse server: the engine library of the npm package `@chdb/lib-linux-x64-gnu` (needs npm, Linux x86-64)
* Redis: Debian's package, where `apt-get` may be used
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("OTJOBS_CACHE", "~/.cache/otjobs")).expanduser()
MANIFEST = ROOT / "collector" / "builder.yaml"
CLICKHOUSE_PACKAGE = "@chdb/lib-linux-x64-gnu@26.7.3-stable.1"


def collector_path() -> Path:
    """Return where the collector built from the present manifest is, or would be."""
    key = hashlib.sha256(MANIFEST.read_bytes()).hexdigest()[:12]
    return CACHE / f"collector-{key}" / "otjobs-otelcol"


def clickhouse_path() -> Path:
    """Return where the ClickHouse engine library is, or would be."""
    return CACHE / CLICKHOUSE_PACKAGE.rsplit("@", 1)[1] / "package" / "libchdb.so"


def run(*command: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> None:
    """Run a command, showing it."""
    print("$", " ".join(command), flush=True)
    subprocess.run(command, cwd=cwd, env={**os.environ, **(env or {})}, check=True)


def build_collector() -> str:
    """Build the collector."""
    target = collector_path()
    if target.exists():
        return f"collector: {target}"
    if not shutil.which("go"):
        return "collector: SKIPPED, there is no Go toolchain (install go >= 1.24 and run again)"
    version = re.search(r"^\s*version: ([\d.]+)", MANIFEST.read_text(), re.MULTILINE)
    assert version, "the manifest names no version"
    build = CACHE / "build"
    build.mkdir(parents=True, exist_ok=True)
    builder = build / "bin" / "builder"
    if not builder.exists():
        run("go", "install", f"go.opentelemetry.io/collector/cmd/builder@v{version[1]}", env={"GOBIN": str(builder.parent)})
    (build / "builder.yaml").write_text(MANIFEST.read_text())
    run(str(builder), "--config", "builder.yaml", cwd=build, env={"CGO_ENABLED": "0"})
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(build / "_build" / "otjobs-otelcol", target.with_suffix(".new"))
    target.with_suffix(".new").rename(target)
    return f"collector: {target}"


def fetch_clickhouse() -> str:
    """Fetch the engine library."""
    target = clickhouse_path()
    if target.exists():
        return f"clickhouse: {target}"
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        return "clickhouse: SKIPPED, the package is for Linux on x86-64; set OTJOBS_CLICKHOUSE_URL to a server of yours"
    if not shutil.which("npm"):
        return "clickhouse: SKIPPED, there is no npm (install Node.js and run again)"
    folder = CACHE / "npm"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    run("npm", "pack", "--silent", CLICKHOUSE_PACKAGE, cwd=folder)
    unpacked = folder / "unpacked"
    with tarfile.open(next(folder.glob("*.tgz"))) as archive:
        archive.extractall(unpacked, filter="data")
    home = target.parent.parent
    shutil.rmtree(home, ignore_errors=True)
    unpacked.rename(home)
    shutil.rmtree(folder)
    return f"clickhouse: {target}"


def install_redis() -> str:
    """Install Redis."""
    if not shutil.which("redis-server"):
        if not shutil.which("apt-get") or os.geteuid() != 0:
            return "redis: SKIPPED, install redis-server with your package manager"
        run("apt-get", "update", "-qq")
        run("apt-get", "install", "-y", "-qq", "redis-server", env={"DEBIAN_FRONTEND": "noninteractive"})
    return f"redis: {shutil.which('redis-server')}"


def main() -> int:
    """Get all parts; the exit code is 1 if one could not be had."""
    lines = [install_redis(), fetch_clickhouse(), build_collector()]
    print("\n".join(lines))
    return 1 if any("SKIPPED" in line for line in lines) else 0


if __name__ == "__main__":
    sys.exit(main())
