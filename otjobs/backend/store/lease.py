"""One rebuild of a database at a time: a lease in `otjobs_settings` that its holder renews while it lives.

The server's clock decides. A holder that was killed keeps the lease until `LEASE_SECONDS` after it was last heard of.
"""

from __future__ import annotations

import getpass
import json
import os
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit
from uuid import uuid4

from otjobs.backend.store.client import connect
from otjobs.backend.store.settings import set_setting
from otjobs.errors import OtjobsError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otjobs.backend.store.client import Store

LEASE_SECONDS: Final = 60.0
"""How long after it was last heard of a holder counts as alive."""

_RENEW_SECONDS: Final = 10.0
# Who takes a free lease looks again after so long: of several at one moment the last one to write has it.
_SETTLE_SECONDS: Final = 0.5
_NAME: Final = "rebuild_lease"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who rebuilds: the account of the operating system, the host and the process there."""

    user: str
    host: str
    process: int
    token: str

    def __str__(self) -> str:
        """Say it in words."""
        return f"{self.user} on {self.host}, process {self.process}"


def holder(store: Store) -> tuple[Holder, float] | None:
    """Return who has the lease and how many seconds ago that was last heard of, also if that is long ago."""
    rows = store.query(store.sql("rebuild", "lease"), {"name": _NAME}).rows
    return (Holder(**json.loads(rows[0][0])), float(rows[0][1])) if rows and rows[0][0] else None


class Lease:
    """The lease of this process, renewed by a thread with a connection of its own; statements may take long."""

    def __init__(self, store: Store) -> None:
        self._store = _another(store)
        self._me = Holder(_user(), socket.gethostname(), os.getpid(), uuid4().hex)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="otjobs-rebuild-lease", daemon=True)

    def take(self) -> None:
        """Write the lease whoever has it, look whether it stays, and renew it from now on."""
        self._write(json.dumps(asdict(self._me)))
        time.sleep(_SETTLE_SECONDS)
        self.check()
        self._thread.start()

    def check(self) -> None:
        """Go on only if this process still has the lease.

        Raises:
            StoreError: another one took it.
        """
        found = holder(self._store)
        if found is None or found[0] != self._me:
            whom = found[0] if found else "somebody who has ended since"
            raise StoreError(f"this rebuild stops here: {whom} took it over")

    def give_back(self) -> None:
        """Let others begin at once; whoever took it over keeps it."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
        try:
            found = holder(self._store)
            if found and found[0] == self._me:
                self._write("")
        finally:
            self._store.close()

    def _renew(self) -> None:
        while not self._over.wait(_RENEW_SECONDS):
            try:
                found = holder(self._store)
                if found is None or found[0] != self._me:
                    return
                self._write(json.dumps(asdict(self._me)))
            except OtjobsError:
                continue  # where it matters, `check` finds out

    def _write(self, value: str) -> None:
        set_setting(self._store, _NAME, value)


@contextmanager
def lease(store: Store, *, take_over: bool = False) -> Iterator[Lease]:
    """Hold the lease for the length of the block.

    Args:
        store: the database.
        take_over: also if somebody has it who was heard of lately.

    Raises:
        StoreError: somebody has it; the message says who, and what to do if that process is dead.
    """
    found = holder(store)
    if found and found[1] < LEASE_SECONDS and not take_over:
        who, ago = found
        raise StoreError(
            f"a rebuild of {store.database} is going on: {who}, last heard of {ago:.0f} s ago; if that process is "
            f"dead, call this again in {LEASE_SECONDS - ago:.0f} s, or now with --take-over; it goes on where that was"
        )
    mine = Lease(store)
    try:
        mine.take()
        yield mine
    finally:
        mine.give_back()


def _another(store: Store) -> Store:
    if store.embedded:
        return connect(store.url)
    return store.on_host(urlsplit(store.url).netloc.rpartition("@")[2], store.database)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"user {os.getuid()}"
