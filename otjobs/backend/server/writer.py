"""The one writer: collects batches of rows, inserts them together and only then reports them as stored."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import Counter, deque
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from otjobs.backend.server.native import encode_block
from otjobs.backend.server.printable import printable
from otjobs.faults import warn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from otjobs.backend.server.native import Columns

_log = logging.getLogger("otjobs.server")

FULL_ROWS: Final = 2_000
LINGER_SECONDS: Final = 0.05
BLOCK_ROWS: Final = 20_000
BLOCK_BYTES: Final = 24 << 20
RETRY_SECONDS: Final = 0.5
HOPELESS: Final = 8
CANNOT_STORE: Final = "span cannot be stored with all its figures"
# ABORTED, CANNOT_ALLOCATE_MEMORY, CANNOT_CREATE_DIRECTORY, CANNOT_OPEN_FILE, CANNOT_WRITE..., MEMORY_LIMIT_EXCEEDED,
# NOT_ENOUGH_SPACE, QUERY_WAS_CANCELLED, TABLE_IS_READ_ONLY, TIMEOUT_EXCEEDED, TOO_MANY_PARTS, and what a library said.
_OF_THE_MACHINE: Final = frozenset({29, 72, 73, 74, 75, 76, 77, 159, 173, 236, 241, 242, 243, 252, 394, 1001})
_CODE: Final = re.compile(r"Code: (\d+)\.")


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
        self._used = 0
        self._lock = threading.Lock()

    def take(self, size: int, held: int = 0) -> None:
        """Reserve `size` bytes more for a request that holds `held` already.

        Raises:
            BusyError: there is no room.
        """
        with self._lock:
            if self._used + size > self.limit_bytes and self._used > held:
                raise BusyError
            self._used += size

    def give_back(self, size: int) -> None:
        """Release what was reserved."""
        with self._lock:
            self._used -= size


@dataclass(slots=True)
class _Waiting:
    batch: Columns
    done: Future[Counter[str]]


class Writer:
    """Inserts batches from a thread of its own.

    An insert is the spans and what the views make of them, and it may fail between the two. What failed is therefore
    kept, its senders are told to come back, and it is inserted again until it goes in: repeating changes no figure.
    Until then nothing else is tried while the fault is one of the machine (a full disk, no memory). Where only some
    spans are the fault, they are found and refused for good, so that they cost nobody else anything; what could be
    stored of them is kept, and `otjobs rebuild` gives them their figures once the view that failed is mended.

    Args:
        insert: stores one Native block of so many rows, with all that is derived of it; raises when it could not.
        linger_seconds: how long a small batch waits for company: each insert makes a part that has to be merged later.
    """

    def __init__(
        self,
        insert: Callable[[bytes, int], None],
        *,
        linger_seconds: float = LINGER_SECONDS,
    ) -> None:
        self._insert = insert
        self._linger = linger_seconds
        self._queue: deque[_Waiting] = deque()
        self._rows = 0
        self._stopping = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="otjobs-writer", daemon=True)
        self._doubt: list[Columns] = []
        self._fault: Exception | None = None
        self._tried = 0.0

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def store(self, batch: Columns) -> Future[Counter[str]]:
        """Queue a batch.

        Returns:
            A future that is done when its rows are stored, with those that can never be, by reason; it fails when they
            could not be stored now.

        Raises:
            StoppingError: the writer was told to stop.
        """
        done: Future[Counter[str]] = Future()
        if not batch.rows:
            done.set_result(Counter())
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
        while (waiting := self._next()) is not None:
            self._settle(now=not self._queue)
            if waiting:
                self._write(waiting)
        self._settle(now=True)

    def _next(self) -> list[_Waiting] | None:
        """Return what to insert together: nothing when it is time to try again, None at the end."""
        with self._changed:
            while not self._queue and not self._stopping:
                if not self._changed.wait(RETRY_SECONDS if self._doubt else None):
                    return []
            if not self._queue:
                return None
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

    def _put(self, batches: Sequence[Columns]) -> None:
        self._insert(encode_block(batches), sum(batch.rows for batch in batches))

    def _settle(self, *, now: bool) -> None:
        """Insert again what may be stored in part."""
        if not self._doubt or (not now and time.monotonic() < self._tried + RETRY_SECONDS):
            return
        try:
            self._put(self._doubt)
        except Exception as error:
            self._fault, self._tried = error, time.monotonic()
            if is_of_the_machine(error):
                return
            parts = [part for batch in self._doubt for part in batch.singles()]
            bad, stored = self._divide(parts)
            if not stored:
                return
            _give_up(bad)
        self._doubt.clear()
        self._fault = None
        _log.warning("the embedded server can store spans again")

    def _write(self, waiting: list[_Waiting]) -> None:
        in_doubt = sum(batch.size for batch in self._doubt)
        if self._fault is not None and (is_of_the_machine(self._fault) or in_doubt > BLOCK_BYTES):
            self._refuse(waiting, self._fault)
            return
        batches = [one.batch for one in waiting]
        try:
            self._put(batches)
        except Exception as error:
            bad: dict[int, tuple[Columns, str]] = {}
            owners: list[_Waiting] = []
            stored = False
            if not is_of_the_machine(error):
                parts = [(one, part) for one in waiting for part in one.batch.singles()]
                owners = [one for one, _ in parts]
                bad, stored = self._divide([part for _, part in parts])
            if not stored:
                self._doubt += batches
                self._fault, self._tried = error, time.monotonic()
                self._refuse(waiting, error)
                return
            _give_up(bad)
            for one in waiting:
                one.done.set_result(Counter(text for index, (_, text) in bad.items() if owners[index] is one))
        else:
            for one in waiting:
                one.done.set_result(Counter())
        if self._doubt:  # others go in, so the fault is with those spans
            _give_up({index: (batch, brief(self._fault or Exception())) for index, batch in enumerate(self._doubt)})
            self._doubt.clear()
            self._fault = None

    def _divide(self, parts: Sequence[Columns]) -> tuple[dict[int, tuple[Columns, str]], bool]:
        """Insert what can be inserted; return the rest by place, each with the reason, and whether anything went in."""
        bad: dict[int, tuple[Columns, str]] = {}
        stored = False
        ranges = [range(len(parts))]
        while ranges and (stored or len(bad) < HOPELESS):
            some = ranges.pop()
            try:
                self._put([parts[index] for index in some])
                stored = True
            except Exception as error:
                if is_of_the_machine(error):
                    return {}, False
                if len(some) == 1:
                    bad[some[0]] = parts[some[0]], f"{CANNOT_STORE}: {brief(error)}"
                else:
                    middle = len(some) // 2
                    ranges += [some[middle:], some[:middle]]
        return bad, stored

    def _refuse(self, waiting: list[_Waiting], error: Exception) -> None:
        warn("spans could not be stored and were refused", brief(error), count=sum(one.batch.rows for one in waiting))
        for one in waiting:
            one.done.set_exception(BusyError(f"the spans could not be stored: {brief(error)}"))


def _give_up(bad: Mapping[int, tuple[Columns, str]]) -> None:
    if bad:
        reason = next(iter(bad.values()))[1]
        warn("spans were refused for good", reason, count=sum(batch.rows for batch, _ in bad.values()))


def brief(error: BaseException) -> str:
    """Return what an error says in one line."""
    return printable(str(error).strip().partition("\n")[0][:500]) or type(error).__name__


def is_of_the_machine(error: BaseException) -> bool:
    """Tell whether an insert failed for want of room, whatever was inserted."""
    found = _CODE.match(str(error))
    return isinstance(error, OSError | MemoryError) or (found is not None and int(found[1]) in _OF_THE_MACHINE)
