"""Where the real parts are kept: one folder per part and version, filled completely or not at all."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parent.parent


def cache() -> Path:
    """Return the cache folder: `OTJOBS_CACHE`, or `~/.cache/otjobs`."""
    return Path(os.environ.get("OTJOBS_CACHE") or Path.home() / ".cache" / "otjobs")


@contextmanager
def filling(target: Path) -> Iterator[Path]:
    """Give a folder beside `target` to fill, and rename it to `target` when the block succeeded.

    An interrupted download or build leaves nothing that a later run would take for whole.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield work
        try:
            work.rename(target)
        except OSError:
            # Somebody else filled it meanwhile; theirs is as good.
            if not target.exists():
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def run(command: Sequence[str | Path], *, cwd: Path | None = None, env: dict[str, str] | None = None) -> None:
    """Run a command, showing it and its output.

    Raises:
        SystemExit: the command is missing or failed, with one line that says which.
    """
    text = " ".join(str(part) for part in command)
    print(f"+ {text}", flush=True)
    try:
        status = subprocess.run(command, cwd=cwd, env={**os.environ, **(env or {})}, check=False).returncode
    except FileNotFoundError:
        raise SystemExit(f"{command[0]} is not installed; it is needed for: {text}") from None
    if status:
        raise SystemExit(f"failed with status {status}: {text}")
