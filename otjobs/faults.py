"""Faults of otjobs' own code inside a running service: counted, logged at most once a minute a kind, never raised.

Tracing must never cost a job, so `guard` turns every fault into a counted warning.
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


def is_from_signal(error: BaseException) -> bool:
    """Tell whether a signal handler raised it: a time limit or a request to stop, which is the application's.

    A handler is called with the frame that the signal interrupts, which may be any of ours.
    """
    tb = error.__traceback__
    while tb is not None and tb.tb_next is not None:
        interrupted, handler = tb.tb_frame, tb.tb_next.tb_frame
        if any(value is interrupted for value in handler.f_locals.values()):
            return True
        tb = tb.tb_next
    return False


def note(what: str, error: Exception) -> None:
    """Count an exception of otjobs' own code, for the places that every job passes: they do what `guard` does.

    A `try` block costs nothing there, a `with guard(...)` three calls.

    Raises:
        Exception: the same one, where a signal handler of the application raised it in the middle of our code.
    """
    if is_from_signal(error):
        raise error
    warn(what, described(error))
    with suppress(Exception):
        _log.debug("otjobs: %s", what, exc_info=error)


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
    """Swallow any Exception of otjobs' own code inside the block and count it as a warning.

    What a signal handler of the application raises meanwhile passes through.
    """

    __slots__ = ("_what",)

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> bool:
        if error is None or not isinstance(error, Exception) or is_from_signal(error):
            return False
        note(self._what, error)
        return True
