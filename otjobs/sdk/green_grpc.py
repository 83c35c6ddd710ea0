"""OTLP over gRPC in gevent and eventlet pools.

gRPC waits for the collector in C, where neither library can let others run: each export would stop every job of the
process, for as long as the collector is slow. So that wait goes to a thread of the operating system.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otjobs import threads
from otjobs.faults import guard
from otjobs.sdk import forking

if TYPE_CHECKING:
    from collections.abc import Callable


def keep_off_the_loop() -> None:
    """Take the waits of this process's gRPC exporters off its main loop, if it is a green one."""
    if not threads.green():
        return
    for exporter in forking.grpc_exporters():
        with guard("a gRPC exporter may block a green pool"):
            stub = exporter._stub  # noqa: SLF001
            if not isinstance(stub, _Stub):
                exporter._stub = _Stub(stub)  # noqa: SLF001  (used again for each new connection)
                _take_off(exporter._client)  # noqa: SLF001


class _Stub:
    """In place of the class of an exporter's gRPC client."""

    def __init__(self, stub: Callable[[Any], Any]) -> None:
        self._stub = stub

    def __call__(self, channel: Any) -> Any:
        return _take_off(self._stub(channel))


def _take_off(client: Any) -> Any:
    client.Export = threads.off_loop(client.Export)
    return client
