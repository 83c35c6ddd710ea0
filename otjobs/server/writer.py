"""The one writer: collects batches of rows, inserts them together and only then reports them as stored."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from otjobs.errors import warn
from otjobs.server.native import encode_block

if TYPE_CHECKING:
    from collections.abc import Callable

    from otjobs.server.native import Batch

_log = logging.getLogger("otjobs.server")

FULL_ROWS: Final = 2_000
LINGER_SECONDS: Final = 0.05
BLOCK_ROWS: Final = 20_000
BLOCK_BYTES: Final = 24 << 20


class BusyError(Exception):
    """There is no room for more data now; it may be sent again a moment later."""


class StoppingError(BusyError):
    """The server stops and takes nothing more."""


class Admission:
    """Bounds the bytes that are inside the server: received and not yet stored.

    One request is always let in when nothing else is inside, however large.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.refused = 0
        self._used = 0
        self._lock = threading.Lock()

    def take(self, size: int, held: int = 0) -> None:
        """Reserve `size` bytes more for a request that holds `held` already.

        Raises:
            BusyError: there is no room.
        """
        with self._lock:
            if self._used + size > self.limit_bytes and self._used > held:
                self.refused += 1
                raise BusyError
            self._used += size

    def give_back(self, size: int) -> None:
        """Release what was reserved."""
        with self._lock:
            self._used -= size


@dataclass(slots=True)
class _Waiting:
    batch: Batch
    done: Future[None]


class Writer:
    """Inserts batches from a thread of its own.

    Args:
        insert: stores one Native block; raises when it could not.
        linger_seconds: how long a small batch waits for company: each insert makes a part that has to be merged later.
    """

    def __init__(self, insert: Callable[[bytes], None], *, linger_seconds: float = LINGER_SECONDS) -> None:
        self._insert = insert
        self._linger = linger_seconds
        self._queue: deque[_Waiting] = deque()
        self._rows = 0
        self._stopping = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="otjobs-writer", daemon=True)
        self.stored_rows = 0
        self.inserts = 0

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def store(self, batch: Batch) -> Future[None]:
        """Queue a batch; the future is done when its rows are stored and fails when they could not be.

        Raises:
            StoppingError: the writer was told to stop.
        """
        done: Future[None] = Future()
        if not batch.rows:
            done.set_result(None)
            return done
        with self._changed:
            if self._stopping:
                raise StoppingError
            self._queue.append(_Waiting(batch, done))
            self._rows += batch.rows
            self._changed.notify()
        return done

    def stop(self) -> None:
        """Store what is queued, then end the thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while batches := self._next():
            self._write(batches)

    def _next(self) -> list[_Waiting]:
        with self._changed:
            while not self._queue and not self._stopping:
                self._changed.wait()
            until = time.monotonic() + self._linger
            while not self._stopping and self._rows < FULL_ROWS and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)
            taken: list[_Waiting] = []
            rows = size = 0
            while self._queue:
                head = self._queue[0].batch
                if taken and (rows + head.rows > BLOCK_ROWS or size + head.size > BLOCK_BYTES):
                    break
                taken.append(self._queue.popleft())
                rows += head.rows
                size += head.size
            self._rows -= rows
            return taken

    def _write(self, waiting: list[_Waiting]) -> None:
        try:
            self._insert(encode_block([w.batch for w in waiting]))
        except Exception as error:
            if len(waiting) > 1:  # one request must not fail its neighbours
                for one in waiting:
                    self._write([one])
                return
            warn("spans could not be stored and were refused", error, count=waiting[0].batch.rows)
            waiting[0].done.set_exception(error)
            return
        self.inserts += 1
        for one in waiting:
            self.stored_rows += one.batch.rows
            one.done.set_result(None)
