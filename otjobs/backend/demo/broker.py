"""A broker and a result store in a folder, for a demo that needs no service.

Kombu's own filesystem transport shows a message's file before it is written, so that a fast consumer reads half of it
(1 of 3,000 messages with two producers and two consumers), and its SQLite transport ends a second worker that starts
at the same moment. Here a file gets its name when it is whole, and takes another when somebody takes it: both are one
rename, which the file system does at once or not at all.
"""

from __future__ import annotations

import itertools
import os
import queue as standard_queue
import time
from typing import Any, Final

import kombu.transport
from celery.backends.filesystem import FilesystemBackend
from kombu.transport import filesystem, virtual
from kombu.utils.json import dumps, loads

SCHEME: Final = "otjobs-folder"
kombu.transport.TRANSPORT_ALIASES[SCHEME] = "otjobs.backend.demo.broker:Transport"

_numbers = itertools.count()


def write_whole(path: str, content: bytes) -> None:
    """Write a file that nobody ever sees half of."""
    unfinished = f"{path}.{os.getpid()}-{next(_numbers)}.new"
    with open(unfinished, "wb") as out:  # noqa: PTH123  (kombu's folders are strings)
        out.write(content)
    os.rename(unfinished, path)  # noqa: PTH104


class Channel(filesystem.Channel):
    """One file per message, named by time, so that a queue keeps its order across processes."""

    # Every process declares the queues it uses; a table of bindings in a shared file would be one more race.
    get_table = virtual.Channel.get_table
    supports_fanout = False

    def _queue_bind(self, *_: Any) -> None:
        """Keep the binding in this process only."""

    def _put(self, queue: str, payload: Any, **_: Any) -> None:
        # The wall clock: a monotonic one may differ between processes.
        name = f"{time.time_ns():020}_{os.getpid()}_{next(_numbers)}.{queue}.msg"
        write_whole(os.path.join(self.data_folder_out, name), dumps(payload).encode())  # noqa: PTH118

    def _get(self, queue: str) -> Any:
        for name in sorted(os.listdir(self.data_folder_in)):  # noqa: PTH208
            if name.partition(".")[2] != f"{queue}.msg":
                continue
            path = os.path.join(self.data_folder_in, name)  # noqa: PTH118
            mine = f"{path}.{os.getpid()}.taken"
            try:
                os.rename(path, mine)  # noqa: PTH104
            except FileNotFoundError:
                continue  # another consumer was faster
            with open(mine, "rb") as found:  # noqa: PTH123
                payload = loads(found.read().decode())
            os.unlink(mine)  # noqa: PTH108
            return payload
        raise standard_queue.Empty


class Transport(filesystem.Transport):
    """Kombu transport of `Channel`; messages that a stopping worker had taken go back to their queue."""

    Channel = Channel


class Results(FilesystemBackend):
    """Task results as files that are never seen half-written."""

    def set(self, key: Any, value: Any) -> None:
        """Store one result."""
        content = value if isinstance(value, bytes) else str(value).encode()
        write_whole(os.fsdecode(self._filename(key)), content)


def settings(folder: str) -> dict[str, Any]:
    """Return the Celery settings of a broker and a result store in that folder, which is made."""
    messages, results = os.path.join(folder, "messages"), os.path.join(folder, "results")  # noqa: PTH118
    for path in (messages, results):
        os.makedirs(path, exist_ok=True)  # noqa: PTH103
    return {
        "broker_url": f"{SCHEME}://localhost",
        "broker_transport_options": {
            "data_folder_in": messages,
            "data_folder_out": messages,
            "polling_interval": 0.05,
        },
        "result_backend": f"otjobs.backend.demo.broker.Results+file://{results}",
    }
