"""Rebuilds in processes that die."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import date

DYING = """
import os, signal, sys
from datetime import date
from otjobs.backend.store import connect, rebuild as module
from otjobs.backend.store.rebuild_plan import plan
left = [int(sys.argv[3])]
def dying(real):
    def call(*args, **names):
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **names)
    return call
setattr(module, sys.argv[2], dying(getattr(module, sys.argv[2])))
module.SLICE_SPANS = 4
module._refresh = lambda *_: None
store = connect(sys.argv[1])
module.rebuild(store, plan(store, date.fromisoformat(sys.argv[4]), date.fromisoformat(sys.argv[5])))
"""


def killed(url: str, first: date, last: date, where: str, after: int) -> int:
    """Rebuild days in a process that SIGKILLs itself in the function `where`, after so many calls of it; return its id."""
    command = [sys.executable, "-c", DYING, url, where, str(after), str(first), str(last)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    _, told = process.communicate(timeout=120)
    assert process.returncode == -9, told
    return process.pid
