"""Celery's publishing side: dispatch spans, carriers in message headers, composites, beat.

A publication is handed out by `before_task_publish`, where Celery has made the message, and ended by the wrapper of
`Celery.send_task`, which sees every failure, those before the signal included.
"""

from __future__ import annotations

from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as otel_context

from otjobs import job as jobs
from otjobs import spans
from otjobs.config import settings
from otjobs.errors import guard
from otjobs.inherit import execution_in
from otjobs.job import Job
from otjobs.origin import trigger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SYSTEM: Final = "celery"
HEADER: Final = "otjobs"
RECEIVED: Final = "otjobs_received_at"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


eager_retries: dict[str, dict[str, str]] = {}
"""Carriers of eager retries that are about to run, by job id."""


class _Sending:
    """One call of `send_task`: its dispatch, once the message is made."""

    __slots__ = ("app", "began_at", "dispatch", "republished")

    def __init__(self, app: Any) -> None:
        self.app = app
        self.began_at = jobs.now()
        self.dispatch: spans.Dispatch | None = None
        self.republished = False


_sending: ContextVar[_Sending | None] = ContextVar("otjobs-celery-sending", default=None)


def send_task(wrapped: Callable[..., Any], app: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Trace one publication (wrapper of `Celery.send_task`)."""
    state = _Sending(app)
    token = _sending.set(state)
    try:
        result = wrapped(*args, **kwargs)
    except BaseException as error:
        with guard("a failed publish could not be traced"):
            _failed(state, args, kwargs, error)
        raise
    finally:
        _sending.reset(token)
    with guard("a dispatch span could not be ended"):
        if state.dispatch is not None:
            state.dispatch.end()
    return result


def _failed(state: _Sending, args: tuple[Any, ...], kwargs: dict[str, Any], error: BaseException) -> None:
    if state.republished:
        return
    if state.dispatch is None:  # the broker or result backend failed before there was a message
        name = args[0] if args else kwargs.get("name", "unknown")
        if settings().excludes(str(name)):
            return
        queue = kwargs.get("queue") or state.app.conf.task_default_queue
        job = Job(
            system=SYSTEM,
            job_type=str(name),
            job_id=str(kwargs.get("task_id") or ""),
            queue=str(getattr(queue, "name", queue)),
            enqueued_at=state.began_at,
        )
        state.dispatch = spans.Dispatch(job, identity=False)
    state.dispatch.end(error)


def before_publish(sender: Any = None, headers: Any = None, **message: Any) -> None:
    """Put the carrier into a message that is about to be published (signal `before_task_publish`)."""
    with guard("a publication could not be traced"):
        if not isinstance(headers, dict) or "id" not in headers:
            return  # protocol 1 has no headers of its own
        if settings().excludes(str(sender)):
            headers.pop(HEADER, None)
            return
        headers.pop(RECEIVED, None)
        state = _sending.get()
        due_at = timestamp(headers.get("eta"))
        execution = execution_in(otel_context.get_current())
        if execution is not None and execution.job.job_id == headers["id"] and execution.job.system == SYSTEM:
            # A retry or replacement: the next attempt of the job that runs here, under its original dispatch.
            put(headers, execution.next_carrier(due_at=due_at, identity=False))
            execution.set_outcome("retry", error=execution.error, error_type=execution.error_type)
            if state is not None:
                state.republished = True
            return
        job = Job(
            system=SYSTEM,
            job_type=str(sender),
            job_id=str(headers["id"]),
            queue=_queue(message),
            due_at=due_at,
            expires_at=timestamp(headers.get("expires")),
            max_attempts=_max_attempts(state, str(sender)),
            group_id=str(headers.get("group") or "") or _group_of_body(execution, headers["id"]),
        )
        dispatch = spans.Dispatch(job, identity=False)
        put(headers, dispatch.carrier)
        if state is None:  # published past `send_task`
            dispatch.end()
        else:
            state.dispatch = dispatch
            dispatch.activate()


def put(headers: dict[str, Any], carrier: dict[str, str]) -> None:
    """Write the carrier into message headers; the W3C ones stand beside it, for workers that know only those."""
    headers[HEADER] = carrier
    for key in ("traceparent", "tracestate", "baggage"):
        if key in carrier:
            headers[key] = carrier[key]
        else:
            headers.pop(key, None)


def apply(wrapped: Callable[..., Any], task: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Trace an eager run: dispatch and execute spans around the inline call (wrapper of `Task.apply`)."""
    dispatch = None
    with guard("an eager run could not be traced"):
        if not settings().excludes(task.name):
            dispatch = _eager(task, kwargs)
    if dispatch is not None:
        # Handing over ends here: the run is the execute span's.
        dispatch.end()
    return wrapped(*args, **kwargs)


def _eager(task: Any, kwargs: dict[str, Any]) -> spans.Dispatch | None:
    from celery.utils import uuid

    task_id = kwargs.get("task_id") or uuid()
    kwargs["task_id"] = task_id
    headers = dict(kwargs.get("headers") or {})
    execution = execution_in(otel_context.get_current())
    if execution is not None and execution.job.job_id == task_id:
        headers[HEADER] = execution.next_carrier(identity=False)
        execution.set_outcome("retry", error=execution.error, error_type=execution.error_type)
        kwargs["headers"] = headers
        return None
    if kwargs.get("retries") and task_id in eager_retries:
        # Celery runs an eager retry after the attempt has ended, so its carrier waits here.
        headers[HEADER] = eager_retries.pop(task_id)
        kwargs["headers"] = headers
        return None
    queue = ""
    with guard("the queue of an eager job is unknown"):
        route = task.app.amqp.router.route({}, task.name)
        found = route.get("queue") or task.app.conf.task_default_queue
        queue = str(getattr(found, "name", found))
    job = Job(
        system=SYSTEM,
        job_type=task.name,
        job_id=task_id,
        queue=queue,
        max_attempts=None if task.max_retries is None else task.max_retries + 1,
        group_id=str(kwargs.get("group_id") or ""),
    )
    dispatch = spans.Dispatch(job, identity=False)
    headers[HEADER] = dispatch.carrier
    kwargs["headers"] = headers
    return dispatch


def beat_apply_async(wrapped: Callable[..., Any], _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Say that a schedule triggers the job (wrapper of `celery.beat.Scheduler.apply_async`)."""
    entry = args[0] if args else kwargs.get("entry")
    with trigger("schedule", str(getattr(entry, "name", ""))):
        return wrapped(*args, **kwargs)


def composite_of(kind: str) -> Callable[..., Any]:
    """Return the wrapper of a canvas's `apply_async`: its members are one workflow."""

    def apply_async(wrapped: Callable[..., Any], canvas: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        roots = None
        with guard("the roots of a composite could not be counted"):
            roots = count_roots(canvas)
        with spans.composite(kind, roots=roots):
            return wrapped(*args, **kwargs)

    return apply_async


def count_roots(signature: Any) -> int:
    """Return how many jobs a canvas publishes at once: members of groups, headers of chords, heads of chains."""
    from celery.canvas import _chain, _chord, group

    if isinstance(signature, group):
        return sum(count_roots(member) for member in signature.tasks)
    if isinstance(signature, _chord):
        header = signature.tasks
        if isinstance(header, group):
            return count_roots(header)
        return sum(count_roots(member) for member in header) or 1
    if isinstance(signature, _chain):
        return count_roots(signature.tasks[0]) if signature.tasks else 0
    return 1


def timestamp(value: Any) -> int | None:
    """Return an ISO time, datetime or number of seconds since 1970 as unix ns, None if it is none."""
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        span = aware - _EPOCH
        return ((span.days * 86_400 + span.seconds) * 1_000_000 + span.microseconds) * 1000
    return int(value * 1e9) if isinstance(value, (int, float)) else None


def _queue(message: Mapping[str, Any]) -> str:
    declare = message.get("declare")
    if declare:
        name = getattr(declare[0], "name", "")
        if name:
            return str(name)
    return str(message.get("routing_key") or "")


def _max_attempts(state: _Sending | None, name: str) -> int | None:
    task = None if state is None else state.app.tasks.get(name)
    retries = getattr(task, "max_retries", None)
    return None if retries is None else retries + 1


def _group_of_body(execution: spans.Execution | None, job_id: str) -> str:
    """Return the group whose last member publishes the chord's body, '' for other jobs."""
    if execution is None or not execution.job.group_id:
        return ""
    from celery import current_task

    chord = getattr(getattr(current_task, "request", None), "chord", None)
    options = chord.get("options") if isinstance(chord, dict) else None
    return execution.job.group_id if options and options.get("task_id") == job_id else ""
