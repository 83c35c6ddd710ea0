"""Fetch ClickHouse engines as shared libraries; a second run is a no-op.

They come from package registries because that is one download without an account, a daemon or root: the same code as
the server's, started by tools/clickhouse_server.py. `newest` is what tests use; `oldest`, the oldest that is supported,
is a whole server: it takes accounts by SQL and speaks to replicas, which `newest` does not.
"""

from __future__ import annotations

import platform
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from cache import cache, filling, run

# The package of npm, and that of PyPI with the version of ClickHouse that is in it.
NEWEST = "26.7.3-stable.1"
OLDEST = ("3.7.2", "25.8.2")
PLATFORMS = {
    ("Linux", "x86_64"): "linux-x64-gnu",
    ("Linux", "aarch64"): "linux-arm64-gnu",
}


def library(engine: str = "newest") -> Path:
    """Return where an engine's library is, or will be."""
    if engine == "newest":
        return cache() / f"clickhouse-{NEWEST}" / "libchdb.so"
    return cache() / f"clickhouse-{OLDEST[1]}" / "chdb" / "_chdb.abi3.so"


def fetch(engine: str = "newest") -> Path:
    """Fetch an engine's library if the cache has none, and return its path.

    Raises:
        SystemExit: there is none for this platform, or the download failed.
    """
    found = library(engine)
    if found.exists():
        return found
    name = PLATFORMS.get((platform.system(), platform.machine()))
    if name is None:
        raise SystemExit(f"there is no ClickHouse library for {platform.system()} {platform.machine()}")
    with filling(found.parent if engine == "newest" else found.parents[1]) as work:
        (_newest if engine == "newest" else _oldest)(work, name)
    return found


def _newest(work: Path, platform_name: str) -> None:
    run(["npm", "pack", "--silent", f"@chdb/lib-{platform_name}@{NEWEST}"], cwd=work)
    (archive,) = work.glob("*.tgz")
    with tarfile.open(archive) as files:
        member = next(m for m in files if m.name.endswith("/libchdb.so"))
        source = files.extractfile(member)
        if source is None:
            raise SystemExit(f"{archive.name} holds no libchdb.so")
        with source, (work / "libchdb.so").open("wb") as out:
            shutil.copyfileobj(source, out)
    archive.unlink()


def _oldest(work: Path, _: str) -> None:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    run([*pip, "--dest", work, f"chdb=={OLDEST[0]}"])
    (archive,) = work.glob("*.whl")
    with zipfile.ZipFile(archive) as wheel:
        for name in wheel.namelist():
            # The library, and what it is linked with.
            if name.endswith("_chdb.abi3.so") or name.startswith("chdb.libs/"):
                wheel.extract(name, work)
    archive.unlink()


if __name__ == "__main__":
    print(fetch(*sys.argv[1:]))
