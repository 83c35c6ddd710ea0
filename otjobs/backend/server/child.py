"""The embedded server as a child process, for tests, the demo and notebooks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from typing import IO, TYPE_CHECKING, Any, Final, Self

from otjobs import errors
from otjobs.backend.server.process import Endpoints
from otjobs.errors import ServerError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

_LOG_TAIL: Final = 2_000


class Server:
    """Runs `otjobs.backend.server.run` in a process of its own; ports of 0 are picked by the system.

    Also a context manager. chDB allows one folder per process and does not survive a fork, hence the process.

    Args:
        data: the chDB folder.
        host: address of all three ports.
        grpc_port: OTLP over gRPC.
        http_port: OTLP over HTTP.
        sql_port: ClickHouse-compatible HTTP.
        options: further arguments of `run` that are JSON (`allow_remote`, `queue_bytes`).
    """

    def __init__(
        self,
        data: Path | str,
        *,
        host: str = "127.0.0.1",
        grpc_port: int = 0,
        http_port: int = 0,
        sql_port: int = 0,
        **options: Any,
    ) -> None:
        self._arguments = {
            "data": os.fspath(data),
            "host": host,
            "grpc_port": grpc_port,
            "http_port": http_port,
            "sql_port": sql_port,
            **options,
        }
        self._process: subprocess.Popen[str] | None = None
        self._log: IO[bytes] | None = None
        self._endpoints: Endpoints | None = None

    @property
    def endpoints(self) -> Endpoints:
        """Where the running server is reached.

        Raises:
            ServerError: it does not run.
        """
        if self._endpoints is None:
            raise ServerError("the embedded server is not running; call start() first")
        return self._endpoints

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process is not None else None

    @property
    def log(self) -> str:
        """The end of what the process wrote to its log."""
        if self._log is None:
            return ""
        end = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, end - _LOG_TAIL))
        return self._log.read().decode(errors="replace")

    def start(self, timeout_seconds: float = 60.0) -> Endpoints:
        """Start the process and return when all its ports answer.

        Raises:
            OtjobsError: what `run` raised in the process (FolderInUseError, PortInUseError, ...).
            ServerError: it ended, or was not ready in time.
        """
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (read after the process ended)
        self._process = subprocess.Popen(  # noqa: S603  (this interpreter, this package)
            [sys.executable, "-m", "otjobs.backend.server", json.dumps(self._arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            start_new_session=True,  # Ctrl-C in a terminal is for whoever started it, who then ends it in order
        )
        watchdog = threading.Timer(timeout_seconds, self._process.kill)
        watchdog.daemon = True
        watchdog.start()
        try:
            line = self._process.stdout.readline() if self._process.stdout else ""
        finally:
            watchdog.cancel()
        try:
            said = json.loads(line) if line else {}
        except ValueError:
            said = {}
        if "ready" in said:
            self._endpoints = Endpoints(**said["ready"])
            return self._endpoints
        self.kill()
        if "error" in said:
            kind = getattr(errors, said["error"], ServerError)
            known = isinstance(kind, type) and issubclass(kind, errors.OtjobsError)
            raise _made(kind if known else ServerError, said["message"])
        raise ServerError(f"the embedded server did not start within {timeout_seconds:g} s: {line}{self.log}")

    def stop(self, timeout_seconds: float = 60.0) -> int:
        """End the process gracefully and return its exit status.

        Raises:
            ServerError: it had to be killed.
        """
        process = self._process
        if process is None:
            return 0
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            raise ServerError(f"the embedded server did not stop within {timeout_seconds:g} s and was killed") from None
        finally:
            self.kill()

    def kill(self) -> None:
        """End the process at once, as a crash would."""
        process, self._process, self._endpoints = self._process, None, None
        if process is not None:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()


def _made(kind: type[errors.OtjobsError], message: str) -> errors.OtjobsError:
    made = kind.__new__(kind)
    Exception.__init__(made, message)
    return made
