"""OTLP over gRPC in gevent and eventlet pools.

gRPC waits for the collector in C, where neither library can let others run: each export would stop every job of the
process, for as long as the collector is slow. So that wait goes to a thread of the operating system.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otjobs import threads
from otjobs.faults import guard
from otjobs.sdk import exporters

if TYPE_CHECKING:
    from otjobs.sdk.patches import Patches


def keep_off_the_loop(provider: object, patches: Patches) -> None:
    """Take the waits of this process's gRPC exporters off its main loop, if it is a green one."""
    if not threads.green():
        return
    for exporter in exporters.grpc_exporters(provider):
        with guard("a gRPC exporter may block a green pool"):
            exporter.change_client(_take_off, patches)


def _take_off(client: Any, patches: Patches) -> Any:
    patches.replace(client, "Export", threads.off_loop(client.Export))
    return client
