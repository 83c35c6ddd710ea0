"""What every benchmark does with its figures: medians, one table for people, one line of JSON for programs."""

from __future__ import annotations

import json
import os
import platform
import signal
import statistics
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

median = statistics.median


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table with aligned columns."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    print(f"\n{title}")
    for row in (header, ["-" * width for width in widths], *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def end_cleanly() -> None:
    """Let SIGTERM unwind this process, so that what it started is stopped too."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


def emit(name: str, **figures: Any) -> None:
    """Print the figures as one line of JSON."""
    machine = {"cores": os.cpu_count(), "python": platform.python_version()}
    print(json.dumps({"bench": name, **figures, **machine}), flush=True)


def skipped(name: str, *needed: str) -> bool:
    """Say that a benchmark is skipped, and how to get what it needs, if one of its parts (`tests/parts.py`) is not there."""
    import parts  # found once the benchmark has put the tests on its path

    for part in needed:
        there, how = parts.PARTS[part]
        if not there():
            print(f"{name}: skipped, {part} is not there; get it with: {how}")
            emit(name, skipped=f"no {part}")
            return True
    return False


def cpu_seconds_of(pid: int) -> float:
    """Return the CPU seconds that a process has used so far (Linux)."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int, name: str) -> float:
    """Return a figure of a process's memory in MB: `VmRSS` now, `VmHWM` at its peak (Linux)."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        for line in file:
            if line.startswith(name + ":"):
                return int(line.split()[1]) / 1024
    raise KeyError(name)
