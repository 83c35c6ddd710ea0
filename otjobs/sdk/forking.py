"""Exporters in processes that fork.

A forked child must not write into the connections of its parent, and gRPC does not survive a fork at all once a
process has used it: the child hangs. So children get connections of their own, and a process that goes on forking
(the main process of a prefork pool) hands what it exports over gRPC to a child made for that one batch.
"""

from __future__ import annotations

import copy
import os
import select
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import metrics
from opentelemetry._logs import get_logger_provider
from wrapt import register_post_import_hook

from otjobs.faults import guard, warn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_GRPC: Final = "opentelemetry.exporter.otlp.proto.grpc"
_IGNORED_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1)


def exporters() -> Iterator[Any]:
    """Yield the exporters of this process: spans, metrics, logs."""
    from otjobs import tracing
    from otjobs.sdk import lifecycle

    for processor in lifecycle.batch_processors(tracing.provider()):
        yield getattr(getattr(processor, "_batch_processor", processor), "_exporter", None)
    readers = getattr(getattr(metrics.get_meter_provider(), "_sdk_config", None), "metric_readers", ())
    for reader in readers:
        yield getattr(reader, "_exporter", None)
    logs = getattr(get_logger_provider(), "_multi_log_record_processor", None)
    for processor in getattr(logs, "_log_record_processors", ()):
        yield getattr(getattr(processor, "_batch_processor", processor), "_exporter", None)


def grpc_exporters() -> Iterator[Any]:
    """Yield those of them that send over gRPC."""
    for exporter in exporters():
        if any(kind.__module__.startswith(_GRPC) for kind in type(exporter).__mro__):
            yield exporter


def keep_grpc_out() -> int:
    """Make the gRPC exporters of this process, which is about to fork, safe; return how many there are."""
    count = 0
    for exporter in grpc_exporters():
        count += 1
        with guard("a gRPC exporter could not be made safe for forked children: they may hang"):
            if isinstance(exporter._export, _Export):  # noqa: SLF001
                exporter._export.go_on_forking()  # noqa: SLF001
            else:
                exporter._export = _Export(exporter)  # noqa: SLF001
    return count


class _Export:
    """The `_export` of a gRPC exporter, for a process that goes on forking and for the children that it forks."""

    def __init__(self, exporter: Any) -> None:
        self._exporter = exporter
        self._direct: Callable[[Any], Any] = exporter._export  # noqa: SLF001
        self._forking_pid = os.getpid()
        self._connected_pid = 0
        channel, exporter._channel, exporter._client = exporter._channel, None, None  # noqa: SLF001
        if channel is not None:
            channel.close()

    def go_on_forking(self) -> None:
        """Connect no more in this process, which was forked and now forks itself (a worker of a pool)."""
        if os.getpid() != self._connected_pid:
            self._forking_pid = os.getpid()

    def __call__(self, data: Any) -> Any:
        if os.getpid() == self._forking_pid:
            return self._through_a_child(data)
        if os.getpid() != self._connected_pid:
            self._exporter._initialize_channel_and_stub()  # noqa: SLF001
            self._connected_pid = os.getpid()
        return self._direct(data)

    def _through_a_child(self, data: Any) -> Any:
        result = self._exporter._result  # noqa: SLF001
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.close(reader)
                for number in _IGNORED_SIGNALS:
                    signal.signal(number, signal.SIG_IGN)
                os.write(writer, b"1" if self(data) is result.SUCCESS else b"0")
            finally:
                os._exit(0)
        os.close(writer)
        try:
            return result.SUCCESS if self._answer(reader, pid) == b"1" else result.FAILURE
        finally:
            os.close(reader)

    def _answer(self, reader: int, pid: int) -> bytes:
        waiting = select.poll()
        waiting.register(reader, select.POLLIN | select.POLLHUP)
        answer = b""
        if waiting.poll((self._exporter._timeout + 1) * 1000):  # noqa: SLF001
            answer = os.read(reader, 1)
        else:
            os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):  # somebody else has collected it
            os.waitpid(pid, 0)
        return answer


class _Anchor:
    """Something for multiprocessing to register on; it lives as long as this module."""


_anchors: dict[str, _Anchor] = {}
_at_end: Callable[[], None] | None = None


def prepare(at_end: Callable[[], None]) -> None:
    """Call `at_end` where forked multiprocessing children end, whose inherited atexit handlers do not run (3.11-3.13).

    Celery's billiard is a multiprocessing of its own.
    """
    global _at_end  # noqa: PLW0603
    _at_end = at_end
    if not _anchors:
        for name in ("multiprocessing.util", "billiard.util"):
            _anchors[name] = _Anchor()
            register_post_import_hook(_watch, name)


def _watch(util: Any) -> None:
    util.register_after_fork(_anchors[util.__name__], _finalizer(util))


def _finalizer(util: Any) -> Callable[[object], None]:
    def in_child(_: object) -> None:
        util.Finalize(None, _call_at_end, exitpriority=100)

    return in_child


def _call_at_end() -> None:
    if _at_end is not None:
        _at_end()


def _after_fork() -> None:
    """Give a forked child connections of its own: requests of two processes on one would mix."""
    try:
        for exporter in exporters():
            transport = getattr(getattr(exporter, "_client", None), "_transport", None)
            owner: Any = transport if hasattr(transport, "_session") else exporter
            session = getattr(owner, "_session", None)
            if session is None or not hasattr(session, "adapters"):
                continue
            fresh = copy.copy(session)
            fresh.adapters = type(session.adapters)((at, copy.copy(one)) for at, one in session.adapters.items())
            owner._session = fresh  # noqa: SLF001
    except Exception as error:
        warn("a forked child shares its parent's connections to the collector", repr(error))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
