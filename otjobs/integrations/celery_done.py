"""What a killed pool child takes with it: the spans of the jobs it had just finished, still in its export queue.

The main process saw those jobs end as well. It remembers them for as long as a span may wait in a child, and where the
child dies without its last flush, it reports them as observed; a report of the child that did arrive counts instead.
"""

from __future__ import annotations

import os
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from otjobs import job as jobs
from otjobs import spans
from otjobs.config import settings
from otjobs.errors import guard
from otjobs.integrations import celery_execute
from otjobs.integrations.celery_message import HEADER, RECEIVED, W3C

if TYPE_CHECKING:
    from collections.abc import Callable

WINDOW_SECONDS: Final = 15.0
"""The longest a span waits in a child: the batch delay (5 s by default) and an export at its timeout (10 s)."""
MOST: Final = 2048
_CARRIED: Final = (HEADER, RECEIVED, *W3C, "retries", "eta", "expires", "group")

_done: dict[int, deque[_Done]] = {}


class _Done:
    """A finished attempt, seen like a task request, without its arguments."""

    def __init__(self, request: Any, outcome: str, reason: str) -> None:
        known = request.request_dict
        self.headers = {key: known[key] for key in _CARRIED if key in known}
        self.name, self.id, self.hostname = request.name, request.id, request.hostname
        self.delivery_info = request.delivery_info
        self.started_at = int(request.time_start * 1e9)
        self.ended_at = jobs.now()
        self.at = time.monotonic()
        self.outcome, self.reason = outcome, reason


def request_class(wrapped: Callable[..., Any], _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Let a task's requests say when they are done (wrapper of the worker strategy's `create_request_cls`)."""
    kwargs.setdefault("task_ready", _task_ready)
    return wrapped(*args, **kwargs)


def _task_ready(request: Any, successful: bool = False, **more: Any) -> None:
    """Remember an attempt that succeeded in a pool child, in place of `celery.worker.state.task_ready`."""
    from celery.worker import state

    if successful:
        with guard("a finished job could not be remembered"):
            remember(request, "success")
    state.task_ready(request, successful=successful, **more)


def remember_raised(request: Any, exc_info: Any) -> None:
    """Remember an attempt that raised in a pool child."""
    error = getattr(exc_info, "exception", None)
    error = getattr(error, "exc", error)
    reason = type(error).__name__
    if reason == "Retry":
        cause = getattr(error, "exc", None)
        remember(request, "retry", reason if cause is None else type(cause).__name__)
    elif reason == "Reject":
        remember(request, "retry" if getattr(error, "requeue", False) else "rejected", reason)
    elif reason == "Ignore":
        remember(request, "success")
    else:
        remember(request, "failure", reason)


def remember(request: Any, outcome: str, reason: str = "") -> None:
    """Keep the end of an attempt for as long as its span may still be in the child."""
    pid = request.worker_pid
    if pid is None or pid == os.getpid() or not request.time_start or settings().excludes(request.name):
        return
    found = _done.get(pid)
    if found is None:
        found = _done[pid] = deque(maxlen=MOST)
    done = _Done(request, outcome, reason)
    found.append(done)
    while found[0].at < done.at - WINDOW_SECONDS:
        found.popleft()


def child_gone(wrapped: Callable[..., Any], _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Report what a child that died took with it (wrapper of `Pool.process_flush_queues`, once for each child)."""
    from billiard.common import TERM_SIGNAL
    from billiard.pool import EX_OK, EX_RECYCLE

    # A child that has sent its spans; the last is billiard's exit code for an unwinding by a terminate signal.
    flushed = {EX_OK, EX_RECYCLE, int(TERM_SIGNAL)}
    result = wrapped(*args, **kwargs)  # reads the last results of the child
    with guard("the last jobs of a killed process could not be reported"):
        process = args[0] if args else next(iter(kwargs.values()))
        finished = _done.pop(process.pid, ())
        if process.exitcode not in flushed:
            oldest = time.monotonic() - WINDOW_SECONDS
            for done in finished:
                if done.at >= oldest:
                    _report(done)
    return result


def _report(done: _Done) -> None:
    carrier, job = celery_execute.read(done, done.name, done.id)
    spans.ended_elsewhere(
        job,
        carrier,
        done.outcome,
        error_type=done.reason,
        started_at=done.started_at,
        ended_at=done.ended_at,
        dead_letter=done.outcome == "rejected",
    )
