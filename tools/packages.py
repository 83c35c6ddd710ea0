"""Install the brokers this platform's package manager offers: Redis, and RabbitMQ when asked for."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from cache import run


def install(program: str, package: str) -> bool:
    """Install a package unless its program is there; return whether the program is there afterwards."""
    if find(program):
        return True
    if not shutil.which("apt-get"):
        print(f"{program}: no apt-get here; install {package} by hand", flush=True)
        return False
    if os.geteuid() != 0:
        print(f"{program}: not root; run: sudo apt-get install {package}", flush=True)
        return False
    quiet = {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    run(["apt-get", "update", "-q"], env=quiet)
    run(["apt-get", "install", "-y", "-q", "--no-install-recommends", package], env=quiet)
    return find(program) is not None


def find(program: str) -> str | None:
    """Return the program's path; system folders count even where PATH leaves them out."""
    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/lib/rabbitmq/bin:/usr/local/sbin:/sbin")
