"""Celery's publishing side: dispatch spans, carriers in message headers, beat.

A publication is handed out by `before_task_publish`, where Celery has made the message, and ended by the wrapper of
`Celery.send_task`, which sees every failure, those before the signal included.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as otel_context

from otjobs import job as jobs
from otjobs import spans
from otjobs.config import settings
from otjobs.errors import guard
from otjobs.inherit import execution_in, passing
from otjobs.integrations import celery_canvas, celery_replace
from otjobs.integrations.celery_message import (
    HEADER,
    PASSING,
    RECEIVED,
    SYSTEM,
    max_attempts,
    put,
    queue_of_binding,
    timestamp,
)
from otjobs.job import Job
from otjobs.origin import trigger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_TASK_ID_POSITION: Final = 5
"""Where `Celery.send_task(name, args, kwargs, countdown, eta, task_id, ...)` has the id."""


class _Sending:
    """One call of `send_task`: what became of its message, once that is made."""

    __slots__ = ("app", "began_at", "dispatch", "known", "retried")

    def __init__(self, app: Any) -> None:
        self.app = app
        self.began_at = jobs.now()
        """The caller's moment: connecting, too, is part of the publication."""
        self.known = False
        """True once the message was seen."""
        self.dispatch: spans.Dispatch | None = None
        self.retried: spans.Execution | None = None
        """The attempt that publishes its own next one."""


_sending: ContextVar[_Sending | None] = ContextVar("otjobs-celery-sending", default=None)


def send_task(wrapped: Callable[..., Any], app: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Trace one publication (wrapper of `Celery.send_task`)."""
    from celery.utils import uuid

    state = _Sending(app)
    token = _sending.set(state)
    if len(args) <= _TASK_ID_POSITION and not kwargs.get("task_id"):
        kwargs["task_id"] = uuid()  # as Celery would, but known also where it fails early
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
        elif state.retried is not None:
            state.retried.set_outcome("retry")
    return result


def _failed(state: _Sending, args: tuple[Any, ...], kwargs: dict[str, Any], error: BaseException) -> None:
    if state.dispatch is None and not state.known:  # the broker or result backend failed before there was a message
        given = {**dict(zip(("name", "args", "kwargs", "countdown", "eta", "task_id"), args, strict=False)), **kwargs}
        name = str(given.get("name") or "unknown")
        if settings().excludes(name):
            return
        job = Job(
            system=SYSTEM,
            job_type=name,
            job_id=str(given.get("task_id") or ""),
            queue=routed_queue(state.app, name, given),
            enqueued_at=state.began_at,
            max_attempts=max_attempts(state.app.tasks.get(name)),
            group_id=str(given.get("group_id") or ""),
        )
        execution = execution_in(otel_context.get_current())
        if execution is None or execution.job.job_id != job.job_id:
            state.dispatch = spans.Dispatch(job, identity=False)
    if state.dispatch is not None:
        state.dispatch.end(error)


def before_publish(sender: Any = None, headers: Any = None, body: Any = None, **message: Any) -> None:
    """Put the carrier into a message that is about to be published (signal `before_task_publish`)."""
    with guard("a publication could not be traced"):
        # Protocol 1 has its fields in the body, and room for headers all the same.
        fields = headers if "id" in headers else body
        if not isinstance(headers, dict) or not isinstance(fields, dict) or "id" not in fields:
            return
        state = _sending.get()
        if state is not None:
            state.known = True
        for name in (RECEIVED, HEADER, PASSING):
            headers.pop(name, None)
        waiting = celery_replace.pass_on(headers, str(sender), body)
        context = otel_context.get_current()
        job_id = str(fields["id"])
        due_at = timestamp(fields.get("eta"))
        execution = execution_in(context)
        if execution is not None and execution.job.job_id == job_id and execution.job.system == SYSTEM:
            # A retry or replacement: the next attempt of the job that runs here, under its original dispatch.
            put(headers, execution.next_carrier(due_at=due_at, identity=False))
            if state is None:
                execution.set_outcome("retry")
            else:
                state.retried = execution
            return
        continued = celery_replace.next_attempt(waiting, job_id, due_at)
        if continued is not None:  # the step of a canvas that has the id of the job it replaced
            put(headers, continued)
            return
        if settings().excludes(str(sender)):
            put(headers, passing(context), PASSING)
            return
        group_id, links = celery_canvas.body_of(execution, job_id)
        job = Job(
            system=SYSTEM,
            job_type=str(sender),
            job_id=job_id,
            queue=_queue(message),
            enqueued_at=None if state is None else state.began_at,
            due_at=due_at,
            expires_at=timestamp(fields.get("expires")),
            max_attempts=None if state is None else max_attempts(state.app.tasks.get(str(sender))),
            group_id=str(fields.get("group") or group_id),
            links=links,
        )
        dispatch = spans.Dispatch(job, identity=False)
        put(headers, dispatch.carrier)
        if state is None:  # published past `send_task`
            dispatch.end()
        else:
            state.dispatch = dispatch
            dispatch.activate()


def beat_apply_async(wrapped: Callable[..., Any], _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Say that a schedule triggers the job (wrapper of `celery.beat.Scheduler.apply_async`)."""
    entry = args[0] if args else kwargs.get("entry")
    with trigger("schedule", str(getattr(entry, "name", ""))):
        return wrapped(*args, **kwargs)


def routed_queue(app: Any, name: str, options: Mapping[str, Any]) -> str:
    """Return the queue that Celery would choose for a task, '' where that fails."""
    with guard("the queue of a job is unknown"):
        chosen = {key: options[key] for key in ("queue", "exchange", "routing_key") if options.get(key)}
        route = app.amqp.router.route(chosen, name, options.get("args"), options.get("kwargs"), app.tasks.get(name))
        found = route.get("queue") or route.get("routing_key") or app.conf.task_default_queue
        return str(getattr(found, "name", found))
    return ""


def _queue(message: Mapping[str, Any]) -> str:
    """Return the queue of a message; what Celery declares for it may be the default queue beside another exchange."""
    exchange, key = message.get("exchange") or "", str(message.get("routing_key") or "")
    exchange = str(getattr(exchange, "name", exchange))
    found = queue_of_binding(exchange, key)
    declared = message.get("declare")
    if declared and exchange and found == key and getattr(declared[0].exchange, "name", "") == exchange:
        return str(declared[0].name)  # a topic, say, whose keys are patterns
    return found
