"""The error tree.

::

    OtjobsError
    ├── ConfigurationError      a setting or argument that cannot be used
    ├── MissingExtraError       an optional library is not installed; names the extra
    ├── StoreError
    │   ├── StoreUnreachableError   nobody answers at the given address
    │   ├── AccountError            the database refused the name or the password
    │   ├── NewerSchemaError        the database was migrated by a newer otjobs
    │   └── QueryError              the database refused a statement
    │       └── RightsError             the account may not do it
    └── ServerError
        ├── PortInUseError          another process listens there
        └── FolderInUseError        another process holds the data folder

Only start-up and command-line code raises these. Inside a running service nothing of otjobs raises: `guard` turns
every fault into a counted warning, because tracing must never cost a job.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from otjobs.texts import described

if TYPE_CHECKING:
    from types import TracebackType

_log = logging.getLogger("otjobs")


class OtjobsError(Exception):
    """The base of every error that otjobs raises."""

    lines: tuple[str, ...] = ()
    """What a command shows below the message, such as the end of a log."""


class ConfigurationError(OtjobsError):
    """A setting or an argument cannot be used."""


class MissingExtraError(OtjobsError):
    """An optional library is not installed."""

    def __init__(self, library: str, extra: str) -> None:
        super().__init__(f"{library} is not installed; install it with: pip install 'otjobs[{extra}]'")


class StoreError(OtjobsError):
    """Something is wrong between otjobs and its database."""


class StoreUnreachableError(StoreError):
    """Nobody answers at the given database address."""


class AccountError(StoreError):
    """The database refused the name or the password of the account."""


class NewerSchemaError(StoreError):
    """The database was migrated by a newer otjobs than this one."""


class QueryError(StoreError):
    """The database refused a statement."""


class RightsError(QueryError):
    """The account may not do that."""


class ServerError(OtjobsError):
    """The embedded server cannot do what it was asked to."""


class PortInUseError(ServerError):
    """Another process listens on a port that the embedded server needs."""


class FolderInUseError(ServerError):
    """Another process holds the data folder."""


WARNING_INTERVAL_SECONDS: Final = 60.0
_counts: dict[str, int] = {}
_last_logged: dict[str, float] = {}
_lock = threading.Lock()


def warn(what: str, detail: object = "", *, count: int = 1) -> None:
    """Count a fault and log it, at most once a minute per kind, with the number so far.

    Args:
        what: the kind of fault, a short constant text.
        detail: what is known about this one, of any type and length.
        count: how many events this call stands for.
    """
    with _lock:
        total = _counts[what] = _counts.get(what, 0) + count
        now = time.monotonic()
        silent = now - _last_logged.get(what, -1e9) < WARNING_INTERVAL_SECONDS
        if not silent:
            _last_logged[what] = now
    if not silent:
        with suppress(Exception):  # a filter or handler of the application's
            line = detail if type(detail) is str else repr(detail)
            line = line if line.isprintable() else repr(line)[1:-1]  # one line, and one that every log file takes
            _log.warning("otjobs: %s (%d so far in this process)%s", what, total, f": {line[:1000]}" if line else "")


def fault_counts() -> dict[str, int]:
    """Return how often each kind of fault happened in this process."""
    with _lock:
        return dict(_counts)


def _after_fork() -> None:
    global _lock  # noqa: PLW0603  (another thread of the parent may have held it)
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class guard:  # noqa: N801  (used like a statement: `with guard("..."):`)
    """Swallow any Exception of otjobs' own code inside the block and count it as a warning."""

    __slots__ = ("_what",)

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> bool:
        if error is None or not isinstance(error, Exception):
            return False
        warn(self._what, described(error))
        with suppress(Exception):
            _log.debug("otjobs: %s", self._what, exc_info=error)
        return True
