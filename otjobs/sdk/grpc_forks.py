"""OTLP over gRPC in a process that goes on forking.

gRPC does not survive a fork once a process has used it: the child hangs. So the main process of a prefork pool, which
goes on forking, hands what it exports over gRPC to a child made for that one batch, and its workers connect on their
own.
"""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from otjobs.faults import guard
from otjobs.sdk import exporters, patches

if TYPE_CHECKING:
    from otjobs.sdk.exporters import Grpc

_IGNORED_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1)


def keep_out(provider: object) -> int:
    """Make the gRPC exporters of this process, which is about to fork, safe; return how many there are."""
    count = 0
    for exporter in exporters.grpc_exporters(provider):
        count += 1
        with guard("a gRPC exporter could not be made safe for forked children: they may hang"):
            if isinstance(exporter.export, _Export):
                exporter.export.go_on_forking()
            else:
                exporter.set_export(_Export(exporter), patches.process)
    return count


class _Export:
    """What exports in place of a gRPC exporter, in a process that goes on forking and in its children."""

    def __init__(self, exporter: Grpc) -> None:
        self._exporter = exporter
        self._direct = exporter.export
        self._forking_pid = os.getpid()
        self._connected_pid = 0
        exporter.disconnect()

    def go_on_forking(self) -> None:
        """Connect no more in this process, which was forked and now forks itself (a worker of a pool)."""
        if os.getpid() != self._connected_pid:
            self._forking_pid = os.getpid()

    def __call__(self, data: Any) -> Any:
        if os.getpid() == self._forking_pid:
            return self._through_a_child(data)
        if os.getpid() != self._connected_pid:
            self._exporter.connect()
            self._connected_pid = os.getpid()
        return self._direct(data)

    def _through_a_child(self, data: Any) -> Any:
        results = self._exporter.results
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.close(reader)
                for number in _IGNORED_SIGNALS:
                    signal.signal(number, signal.SIG_IGN)
                os.write(writer, b"1" if self(data) is results.SUCCESS else b"0")
            finally:
                os._exit(0)
        os.close(writer)
        try:
            return results.SUCCESS if self._answer(reader, pid) == b"1" else results.FAILURE
        finally:
            os.close(reader)

    def _answer(self, reader: int, pid: int) -> bytes:
        waiting = select.poll()
        waiting.register(reader, select.POLLIN | select.POLLHUP)
        answer = b""
        if waiting.poll((self._exporter.timeout + 1) * 1000):
            answer = os.read(reader, 1)
        else:
            os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):  # somebody else has collected it
            os.waitpid(pid, 0)
        return answer
