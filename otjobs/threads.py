"""Work on a thread of its own with a bounded wait, also where gevent or eventlet has replaced threads and locks.

A green thread that waits for a lock of the operating system stops all others of its process, and the holder may be one
of them; a thread of the operating system that waits for a green lock may never be woken. So work that takes somebody
else's locks runs on the kind of thread that these locks were made for.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_LOOK_SECONDS: Final = 0.02


def green() -> str:
    """Return the library that has replaced the threads of this process, '' where none has."""
    gevent, eventlet = sys.modules.get("gevent.monkey"), sys.modules.get("eventlet.patcher")
    if gevent is not None and gevent.is_module_patched("threading"):
        return "gevent"
    if eventlet is not None and eventlet.is_monkey_patched("thread"):
        return "eventlet"
    return ""


def is_native(lock: object) -> bool:
    """Tell whether this lock is one of the operating system."""
    return type(lock).__module__ == "_thread"  # whatever that module gives out by now


def run(work: Callable[[], object], seconds: float, *, native: bool, name: str) -> bool:
    """Run `work` on a thread of its own and wait for its end; the caller never waits longer than `seconds`.

    Args:
        work: must not raise.
        seconds: the longest wait.
        native: in a green process, use a thread of the operating system; the caller then waits as a green thread.
        name: the thread's name.

    Returns:
        False when the work goes on.

    Raises:
        RuntimeError: no thread can be started, because the interpreter shuts down.
    """
    library = green() if native else ""
    if not library:
        thread = threading.Thread(target=work, name=name, daemon=True)
        thread.start()
        thread.join(seconds)
        return not thread.is_alive()
    ended: list[bool] = []

    def run_then_tell() -> None:
        try:
            work()
        finally:
            ended.append(True)

    _start_native(library, run_then_tell)
    end = time.monotonic() + seconds
    while not ended and time.monotonic() < end:
        time.sleep(_LOOK_SECONDS)  # the green one: others run meanwhile
    return bool(ended)


def off_loop(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function that waits in C wait on a thread of the operating system; its green caller lets others run."""

    def run_elsewhere(*args: Any, **kwargs: Any) -> Any:
        answers: list[Any] = []
        errors: list[BaseException] = []

        def work() -> None:
            try:
                answers.append(function(*args, **kwargs))
            except BaseException as error:  # it is raised where it belongs
                errors.append(error)

        run(work, math.inf, native=True, name="otjobs-call")
        if errors:
            raise errors[0]
        return answers[0]

    return run_elsewhere


def _start_native(library: str, work: Callable[[], None]) -> None:
    """Start a thread of the operating system past the library that has replaced them; it is loaded."""
    if library == "gevent":
        start: Any = sys.modules["gevent.monkey"].get_original("_thread", "start_new_thread")
        start(work, ())
    else:
        thread: Any = sys.modules["eventlet.patcher"].original("threading").Thread
        thread(target=work, daemon=True).start()
