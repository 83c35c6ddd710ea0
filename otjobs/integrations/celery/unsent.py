"""What a killed pool child takes with it: the spans of the jobs it had just finished, still in its export queue.

The main process saw those jobs end as well. It remembers them for as long as a span may wait in a child, and where the
child dies without its last flush, it reports them as observed; a report of the child that did arrive counts instead.
"""

from __future__ import annotations

import functools
import os
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as otel_context
from opentelemetry import trace

from otjobs import clock
from otjobs.elsewhere import ended_elsewhere
from otjobs.faults import guard, note
from otjobs.integrations._base import CARRIER, beside_carrier, wrap_method
from otjobs.integrations.celery import endings, replace, reports
from otjobs.integrations.celery.message import RECEIVED, WAITING, message_of
from otjobs.sdk import lifecycle
from otjobs.surroundings import as_dispatcher
from otjobs.traceparent import parse_traceparent
from otjobs.untraced import Untraced

if TYPE_CHECKING:
    from collections.abc import Callable

EXPORT_SECONDS: Final = 10.0
"""The OTLP exporters' timeout."""
MOST: Final = 2048
_CARRIED: Final = (CARRIER, RECEIVED, WAITING, "retries", "eta", "expires", "group")

_done: dict[int, deque[_Done]] = {}


class _Done:
    """A finished attempt, seen like a task request, without its arguments."""

    traced = True
    """False where it only matters to a replaced job that waits for it."""

    def __init__(self, request: Any, ending: endings.Ending, *, stops: bool, retry_ready_at: int | None) -> None:
        known = request.request_dict
        self.headers = {key: known[key] for key in (*_CARRIED, *beside_carrier()) if key in known}
        self.name, self.id, self.hostname = request.task.name, request.id, request.hostname
        self.delivery_info = request.delivery_info
        self.started_at = int(request.time_start * 1e9)
        self.ended_at = clock.now()
        self.at = time.monotonic()
        self.ending, self.stops, self.retry_ready_at = ending, stops, retry_ready_at


def request_class(wrapped: Callable[..., Any], _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Let a task's requests hear how they ended (wrapper of the worker strategy's `create_request_cls`)."""
    found = wrapped(*args, **kwargs)
    with guard("the ends of jobs in pool processes could not be followed"):
        wrap_method(found, "on_success", _on_success)
    return found


def _on_success(wrapped: Callable[..., Any], request: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Take what the process that ran the attempt says of it (wrapper of `Request.on_success`, raised or not)."""
    told = None
    try:
        name, value = ("", args[0]) if args else next(iter(kwargs.items()))
        told, plain = reports.hear(request.id, value)
        if plain is not value:
            args, kwargs = ((plain, *args[1:]), kwargs) if args else ((), {**kwargs, name: plain})
        if isinstance(plain, tuple) and len(plain) == 3:
            _note(request, told, *plain)
    except Exception as error:
        note("the end of a job could not be heard", error)
    token = None if told is None else _speak_for(request, told)
    try:
        return wrapped(*args, **kwargs)
    finally:
        if token is not None:
            otel_context.detach(token)


def _note(request: Any, told: reports.Told | None, failed: object, result: Any, runtime: Any) -> None:
    if told is not None:
        remember(request, told.ending, stops=told.stops, retry_ready_at=told.retry_ready_at)
    elif failed:
        return  # of a job that the child does not trace
    elif result is None and runtime is None:
        _not_run(request)
    else:
        remember(request, endings.SUCCESS)


def _not_run(request: Any) -> None:
    """Report an attempt that Celery ended without running the task, and without a signal."""
    message = message_of(request, request.task.name, request.id)
    if message.excluded:
        return
    carrier, job = message.attempt()
    if request.delivery_info.get("redelivered"):  # it had succeeded before (`worker_deduplicate_successful_tasks`)
        started_at = int(request.time_start * 1e9) if request.time_start else clock.now()
        ended_elsewhere(job, carrier, "success", started_at=started_at)
    else:  # arguments that are none
        ended_elsewhere(job, carrier, "rejected", error_type="InvalidTaskError", dead_letter=True)
        replace.ended(request, "rejected", "InvalidTaskError")


def _speak_for(request: Any, told: reports.Told) -> Any:
    """Let what Celery publishes at the end of a job that another process ran be that attempt's children."""
    with guard("the end of a job could not be followed"):
        span = parse_traceparent(told.traceparent)
        if span is not None:
            carrier, job = message_of(request, request.task.name, request.id).attempt()
            return otel_context.attach(
                as_dispatcher(Untraced(job, told.workflow_id), trace.NonRecordingSpan(span), carrier.context)
            )
    return None


def remember(request: Any, ending: endings.Ending, *, stops: bool = False, retry_ready_at: int | None = None) -> None:
    """Keep the end of an attempt for as long as its span may still be in the child."""
    pid = request.worker_pid
    if pid is None or pid == os.getpid() or not request.time_start:
        return
    traced = not message_of(request, request.task.name, request.id).excluded
    if not traced and not (stops and WAITING in request.request_dict):
        return
    found = _done.get(pid)
    if found is None:
        found = _done[pid] = deque(maxlen=MOST)
    done = _Done(request, ending, stops=stops, retry_ready_at=retry_ready_at)
    done.traced = traced
    found.append(done)
    while found[0].at < done.at - _window_seconds():
        found.popleft()


def child_gone(wrapped: Callable[..., Any], _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Report what a child that died took with it (wrapper of `Pool.process_flush_queues`, once for each child)."""
    result = wrapped(*args, **kwargs)  # reads the last results of the child
    with guard("the last jobs of a killed process could not be reported"):
        process = args[0] if args else next(iter(kwargs.values()))
        finished = _done.pop(process.pid, ())
        if not _has_flushed(process.exitcode):
            oldest = time.monotonic() - _window_seconds()
            for done in finished:
                if done.at >= oldest:
                    _report(done)
    return result


@functools.cache
def _window_seconds() -> float:
    """Return the longest a span waits in a child: for others (five seconds where nobody says so), and for an export."""
    return max(lifecycle.send_delay(), 5.0) + EXPORT_SECONDS


def _has_flushed(exit_code: int | None) -> bool:
    """Tell whether a child has sent its spans: the last code is billiard's for an unwinding by a terminate signal."""
    from billiard.common import TERM_SIGNAL
    from billiard.pool import EX_OK, EX_RECYCLE

    return exit_code in (EX_OK, EX_RECYCLE, int(TERM_SIGNAL))


def _report(done: _Done) -> None:
    if done.traced:
        carrier, job = message_of(done, done.name, done.id).attempt()
        ended_elsewhere(
            job,
            carrier,
            done.ending.outcome,
            error_type=done.ending.error_type,
            started_at=done.started_at,
            ended_at=done.ended_at,
            dead_letter=done.ending.dead_letter,
            expected=done.ending.expected,
            retry_ready_at=done.retry_ready_at,
        )
    if done.stops:
        replace.ended(done, done.ending.outcome, done.ending.error_type, at=done.ended_at)
