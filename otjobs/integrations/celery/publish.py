"""Celery's publishing side: dispatch spans, carriers in message headers, beat.

A publication is handed out by `before_task_publish`, where Celery has made the message, and ended by the wrapper of
`Celery.send_task`, which sees every failure, those before the signal included.
"""

from __future__ import annotations

import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from otjobs.faults import guard, note
from otjobs.integrations import _base as base
from otjobs.integrations.celery import canvases, replace
from otjobs.integrations.celery.message import RECEIVED, SYSTEM, max_attempts, registered, timestamp
from otjobs.integrations.celery.queues import name_of, published_queue, routed_queue
from otjobs.job import Job
from otjobs.tracing import active
from otjobs.triggers import trigger

if TYPE_CHECKING:
    from collections.abc import Callable

_TASK_ID_POSITION: Final = 5
"""Where `Celery.send_task(name, args, kwargs, countdown, eta, task_id, ...)` has the id."""


class _Sending(base.Publication):
    """One call of `send_task`: what becomes of its message, once that is made."""

    __slots__ = ("app", "headers", "queue")

    def __init__(self, app: Any = None) -> None:
        super().__init__()
        self.app = app
        self.queue = ""
        """The queue that Celery's router chose."""
        self.headers: Any = None
        """Those of the message."""


_sending: ContextVar[_Sending | None] = ContextVar("otjobs-celery-sending", default=None)


def send_task(wrapped: Callable[..., Any], app: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Trace one publication (wrapper of `Celery.send_task`)."""
    state = _Sending(app)
    token = _sending.set(state)
    if len(args) <= _TASK_ID_POSITION and not kwargs.get("task_id"):
        kwargs["task_id"] = sys.modules["celery.utils"].uuid()  # as Celery would, but known also where it fails early
    try:
        result = wrapped(*args, **kwargs)
    except BaseException as error:
        with guard("a failed publish could not be traced"):
            if not state.decided:
                _failed_early(state, args, kwargs)
        state.end(error)
        raise
    finally:
        _sending.reset(token)
    state.end()
    return result


def routed(wrapped: Callable[..., Any], router: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Note the queue that Celery's router chooses (wrapper of `Router.route`).

    Delayed messages of quorum queues have another exchange and routing key than this.
    """
    route = wrapped(*args, **kwargs)
    try:
        state = _sending.get()
        if state is not None:
            state.queue = routed_queue(router.app, route)
    except Exception as error:
        note("the queue of a job is unknown", error)
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
    try:
        state.leaves()
    except Exception as error:
        note("the time of a publication could not be noted", error)
    return wrapped(*args, **kwargs)


def _is_declared(entity: Any, channel: Any) -> bool:
    """Tell what kombu's `maybe_declare` finds out first, at a hundredth of its cost."""
    client = getattr(getattr(channel, "connection", None), "client", None)
    return hash(entity) in getattr(client, "declared_entities", ())


def _failed_early(state: _Sending, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Start the span of a publication whose broker or result backend failed before there was a message."""
    given = {**dict(zip(("name", "args", "kwargs", "countdown", "eta", "task_id"), args, strict=False)), **kwargs}
    name = str(given.get("name") or "unknown")
    job = Job(
        system=SYSTEM,
        job_type=name,
        job_id=str(given.get("task_id") or ""),
        queue=state.queue or name_of(given.get("queue")),
        enqueued_at=state.began_at,
        max_attempts=max_attempts(registered(state.app, name)),
        group_id=str(given.get("group_id") or ""),
    )
    state.fail_early(given.get("headers"), job)


def before_publish(sender: Any = None, headers: Any = None, body: Any = None, **message: Any) -> None:
    """Put the carrier into a message that is about to be published (signal `before_task_publish`)."""
    try:
        # Protocol 1 has its fields in the body, and room for headers all the same.
        fields = headers if "id" in headers else body
        if not isinstance(headers, dict) or not isinstance(fields, dict) or "id" not in fields or not active():
            return
        name, job_id = str(sender), str(fields["id"])
        sending = _sending.get()
        state = sending or _Sending()
        state.headers = headers
        headers.pop(RECEIVED, None)
        eta, expires = fields.get("eta"), fields.get("expires")
        due_at = None if eta is None else timestamp(eta, state.app)
        waiting = replace.pass_on(headers, name, body)
        group_id, links = canvases.body_of(job_id)
        job = Job(
            system=SYSTEM,
            job_type=name,
            job_id=job_id,
            queue=state.queue or published_queue(state.app, message),
            due_at=due_at,
            expires_at=None if expires is None else timestamp(expires, state.app),
            max_attempts=max_attempts(registered(state.app, name)),
            group_id=str(fields.get("group") or group_id),
            links=links,
        )
        # The step of a canvas that has the id of the job it replaced is that job's next attempt.
        following = replace.next_attempt(waiting, job_id, due_at)
        state.carry(headers, job, following=following, current=state is sending)
        if state is not sending:  # published past `send_task`
            state.end()
    except Exception as error:
        note("a publication could not be traced", error)


def beat_apply_async(wrapped: Callable[..., Any], _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Say that a schedule triggers the job (wrapper of `celery.beat.Scheduler.apply_async`)."""
    entry = args[0] if args else kwargs.get("entry")
    with trigger("schedule", str(getattr(entry, "name", ""))):
        return wrapped(*args, **kwargs)
