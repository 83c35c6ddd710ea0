"""Celery's publishing side: dispatch spans, carriers in message headers, beat.

A publication is handed out by `before_task_publish`, where Celery has made the message, and ended by the wrapper of
`Celery.send_task`, which sees every failure, those before the signal included.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as otel_context

from otjobs import clock, spans
from otjobs.config import settings
from otjobs.execution import execution_in
from otjobs.faults import guard
from otjobs.integrations.celery import canvases, replace
from otjobs.integrations.celery.message import (
    HEADER,
    PASSING,
    RECEIVED,
    SYSTEM,
    given_context,
    max_attempts,
    put,
    registered,
    timestamp,
)
from otjobs.integrations.celery.queues import name_of, published_queue, routed_queue
from otjobs.job import Job
from otjobs.tracing import active
from otjobs.triggers import trigger
from otjobs.untraced import untraced_carrier

if TYPE_CHECKING:
    from collections.abc import Callable

_TASK_ID_POSITION: Final = 5
"""Where `Celery.send_task(name, args, kwargs, countdown, eta, task_id, ...)` has the id."""


class _Sending:
    """One call of `send_task`: what became of its message, once that is made."""

    __slots__ = ("app", "began_at", "carrier", "dispatch", "headers", "known", "queue", "retried")

    def __init__(self, app: Any) -> None:
        self.app = app
        self.began_at = clock.now()
        self.queue = ""
        """The queue that Celery's router chose."""
        self.headers: Any = None
        """Those of the message."""
        self.carrier: dict[str, str] | None = None
        """The carrier in them, of the next attempt of a job."""
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


def routed(wrapped: Callable[..., Any], router: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Note the queue that Celery's router chooses (wrapper of `Router.route`).

    Delayed messages of quorum queues have another exchange and routing key than this.
    """
    route = wrapped(*args, **kwargs)
    with guard("the queue of a job is unknown"):
        state = _sending.get()
        if state is not None:
            state.queue = routed_queue(router.app, route)
    return route


_HEADERS_POSITION: Final = 4
_DECLARE_POSITION: Final = 10
_RETRY_POSITION: Final = 13
"""Where kombu's `Producer._publish(body, priority, ...)` has these; the retry policy is behind `retry`."""


def leaves(wrapped: Callable[..., Any], producer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Say in the message that it leaves now (wrapper of kombu's `Producer._publish`, called again for each try).

    What it does first of all is done before that: it takes its channel, and so connects, and declares its entities,
    which it does only once.
    """
    state = _sending.get()
    if state is None or len(args) <= _DECLARE_POSITION or args[_HEADERS_POSITION] is not state.headers:
        return wrapped(*args, **kwargs)
    channel = producer.channel  # connects
    for entity in args[_DECLARE_POSITION] or ():
        if getattr(entity, "can_cache_declaration", False) and not _is_declared(entity, channel):
            retry, policy = args[_RETRY_POSITION:] if len(args) == _RETRY_POSITION + 2 else (False, None)
            producer.maybe_declare(entity, retry=retry, **(policy or {}))
    with guard("the time of a publication could not be noted"):
        if state.dispatch is not None:
            state.dispatch.stamp()
        elif state.carrier is not None:
            state.carrier["published_at"] = str(clock.now())
            if state.retried is not None:
                state.retried.note_publication(state.carrier)
    return wrapped(*args, **kwargs)


def _is_declared(entity: Any, channel: Any) -> bool:
    """Tell what kombu's `maybe_declare` finds out first, at a hundredth of its cost."""
    client = getattr(getattr(channel, "connection", None), "client", None)
    return hash(entity) in getattr(client, "declared_entities", ())


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
            queue=state.queue or name_of(given.get("queue")),
            enqueued_at=state.began_at,
            max_attempts=max_attempts(registered(state.app, name)),
            group_id=str(given.get("group_id") or ""),
        )
        context = given_context(given.get("headers"), otel_context.get_current())
        execution = execution_in(context)
        if execution is None or execution.job.job_id != job.job_id:
            state.dispatch = spans.Dispatch(job, context=context, identity=False)
    if state.dispatch is not None:
        state.dispatch.end(error)


def before_publish(sender: Any = None, headers: Any = None, body: Any = None, **message: Any) -> None:
    """Put the carrier into a message that is about to be published (signal `before_task_publish`)."""
    with guard("a publication could not be traced"):
        # Protocol 1 has its fields in the body, and room for headers all the same.
        fields = headers if "id" in headers else body
        if not isinstance(headers, dict) or not isinstance(fields, dict) or "id" not in fields or not active():
            return
        state = _sending.get()
        app = None
        if state is not None:
            state.known, state.headers, app = True, headers, state.app
        old, passed = headers.pop(HEADER, None), headers.pop(PASSING, None)
        headers.pop(RECEIVED, None)
        waiting = replace.pass_on(headers, str(sender), body)
        context = otel_context.get_current()
        job_id = str(fields["id"])
        due_at = timestamp(fields.get("eta"), app)
        execution = execution_in(context)
        if execution is not None and execution.job.job_id == job_id and execution.job.system == SYSTEM:
            # A retry or replacement: the next attempt of the job that runs here, under its original dispatch.
            carrier = execution.next_carrier(due_at=due_at, identity=False)
            put(headers, carrier, old)
            if state is None:
                execution.set_outcome("retry")
            else:
                state.retried, state.carrier = execution, carrier
            return
        continued = replace.next_attempt(waiting, job_id, due_at)
        if continued is not None:  # the step of a canvas that has the id of the job it replaced
            put(headers, continued, old or passed)
            if state is not None:
                state.carrier = continued
            return
        context = given_context(headers, context)
        if settings().excludes(str(sender)):
            put(headers, untraced_carrier(context), old or passed, name=PASSING)
            return
        group_id, links = canvases.body_of(execution, job_id)
        job = Job(
            system=SYSTEM,
            job_type=str(sender),
            job_id=job_id,
            queue=(state.queue if state is not None else "") or published_queue(app, message),
            due_at=due_at,
            expires_at=timestamp(fields.get("expires"), app),
            max_attempts=None if state is None else max_attempts(registered(app, str(sender))),
            group_id=str(fields.get("group") or group_id),
            links=links,
        )
        dispatch = spans.Dispatch(
            job,
            context=context,
            identity=False,
            started_at=None if state is None else state.began_at,
        )
        put(headers, dispatch.carrier, old or passed)
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
