"""The demo's processes: started apart from the terminal, watched, and ended with everything they started."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from typing import TYPE_CHECKING, Final, Self

from otjobs.errors import MissingExtraError, OtjobsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

_TAIL_LINES: Final = 25
STOP_SECONDS: Final = 15.0


class ProcessDiedError(OtjobsError):
    """A process of the demo ended by itself; its lines are the end of its log."""

    def __init__(self, name: str, status: int, log: Sequence[str]) -> None:
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        super().__init__(f"the demo's process {name} {how}; the end of its log:")
        self.lines = tuple(log)


def instrument() -> str:
    """Return the path of `opentelemetry-instrument` beside this interpreter.

    Raises:
        MissingExtraError: it is not installed.
    """
    name = "opentelemetry-instrument"
    found = shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)
    if found is None:
        raise MissingExtraError(name, "demo")
    return found


class Processes:
    """Python processes under `opentelemetry-instrument`, each with a log of its own in one folder.

    They run in sessions of their own, so that Ctrl-C in a terminal reaches only the demo, which ends them in order.

    Args:
        folder: where the logs go and the processes run.
        environment: what all of them share.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = dict(environment)
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *arguments: str) -> None:
        """Start `opentelemetry-instrument python ARGUMENTS` with the service name `name`."""
        with self.log_path(name).open("wb") as log:
            self._running[name] = subprocess.Popen(  # noqa: S603  (this interpreter, this package)
                [instrument(), sys.executable, *arguments],
                cwd=self._folder,
                env={**_inherited(), **self._environment, "OTEL_SERVICE_NAME": name},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def log_path(self, name: str) -> Path:
        """Return where a process writes its log."""
        return self._folder / f"{name}.log"

    def log(self, name: str) -> str:
        """Return what a process wrote to its log so far."""
        return self.log_path(name).read_text(encoding="utf-8", errors="replace")

    def pids(self) -> dict[str, int]:
        """Return the process ids by name."""
        return {name: process.pid for name, process in self._running.items()}

    def check(self) -> None:
        """Look whether all of them still run.

        Raises:
            ProcessDiedError: one has ended.
        """
        for name, process in self._running.items():
            if process.poll() is not None:
                raise ProcessDiedError(name, process.returncode, self.tail(name))

    def finished(self, name: str) -> bool:
        """Tell whether a process ended well, as it was meant to, and forget it then.

        Raises:
            ProcessDiedError: it ended with an error.
        """
        process = self._running[name]
        if process.poll() is None:
            return False
        if process.returncode != 0:
            raise ProcessDiedError(name, process.returncode, self.tail(name))
        self.stop([name])
        return True

    def stop(self, names: Sequence[str] | None = None, seconds: float = STOP_SECONDS) -> None:
        """End processes (all by default): SIGTERM, and SIGKILL to their whole sessions after `seconds`."""
        chosen = {name: self._running.pop(name) for name in (list(self._running) if names is None else names)}
        for process in chosen.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        until = time.monotonic() + seconds
        for process in chosen.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, until - time.monotonic()))
            # Whoever is left of the session: children of a killed worker, or all of it.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def tail(self, name: str, lines: int = _TAIL_LINES) -> list[str]:
        """Return the last lines of a process's log."""
        return self.log(name).strip().splitlines()[-lines:]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop(seconds=STOP_SECONDS if error is None else 5.0)


def _inherited() -> dict[str, str]:
    """Return this process's environment without settings that would send the demo's spans elsewhere."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return {**kept, "NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}
