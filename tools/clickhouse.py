"""Fetch the official ClickHouse engine as a shared library; a second run is a no-op.

It comes as an npm package because that is one download without an account, a daemon or root:
the same code as the server's, started by tools/clickhouse_server.py.
"""

from __future__ import annotations

import platform
import shutil
import sys
import tarfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from cache import cache, filling, run

VERSION = "26.7.3-stable.1"
PLATFORMS = {
    ("Linux", "x86_64"): "linux-x64-gnu",
    ("Linux", "aarch64"): "linux-arm64-gnu",
}


def library() -> Path:
    """Return where the library is, or will be."""
    return cache() / f"clickhouse-{VERSION}" / "libchdb.so"


def fetch() -> Path:
    """Fetch the library if the cache has none, and return its path.

    Raises:
        SystemExit: there is none for this platform, or the download failed.
    """
    found = library()
    if found.exists():
        return found
    name = PLATFORMS.get((platform.system(), platform.machine()))
    if name is None:
        raise SystemExit(
            f"no ClickHouse library for {platform.system()} {platform.machine()}; give OTJOBS_TEST_CLICKHOUSE a server"
        )
    with filling(found.parent) as work:
        run(["npm", "pack", "--silent", f"@chdb/lib-{name}@{VERSION}"], cwd=work)
        (archive,) = work.glob("*.tgz")
        with tarfile.open(archive) as files:
            member = next(m for m in files if m.name.endswith("/libchdb.so"))
            source = files.extractfile(member)
            if source is None:
                raise SystemExit(f"{archive.name} holds no libchdb.so")
            with source, (work / "libchdb.so").open("wb") as out:
                shutil.copyfileobj(source, out)
        archive.unlink()
    return found


if __name__ == "__main__":
    print(fetch())
