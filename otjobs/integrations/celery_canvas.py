"""Celery's canvases: groups, chains and chords as one workflow, chord bodies."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as otel_context

from otjobs.carrier import MAX_LINKS
from otjobs.composites import composite
from otjobs.config import settings
from otjobs.errors import guard
from otjobs.inherit import held_together
from otjobs.integrations.celery_replace import UNLOCK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.trace import SpanContext

    from otjobs.spans import Execution

_MAX_CHORDS: Final = 1000
_headers: OrderedDict[str, dict[str, SpanContext]] = OrderedDict()
"""The attempts of chord headers that this process ran: group id -> job id -> execute span."""


def composite_of(kind: str, *, eager: bool = False) -> Callable[..., Any]:
    """Return the wrapper of a canvas's `apply_async` (or `apply`): its members are one workflow."""

    def apply(wrapped: Callable[..., Any], canvas: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        from celery.canvas import _chain, _chord, group

        if held_together(otel_context.get_current()) or (isinstance(canvas, (group, _chain)) and not canvas.tasks):
            return wrapped(*args, **kwargs)
        # The members of a lazy group are made now, where its generator's own exceptions still reach the caller.
        if isinstance(canvas, (group, _chord)):
            len(getattr(canvas.tasks, "tasks", canvas.tasks))
        roots = None
        with guard("the roots of a composite could not be counted"):
            roots = count_roots(canvas, inline=eager or canvas.app.conf.task_always_eager)
        with composite(kind, roots=roots):
            return wrapped(*args, **kwargs)

    return apply


def count_roots(signature: Any, *, inline: bool = False) -> int:
    """Return how many jobs a canvas publishes at once: members of groups, headers of chords, heads of chains.

    Run inline, every step of a chain and the body of a chord are published by the caller, too.
    """
    from celery import current_app
    from celery.canvas import _chain, _chord, group, maybe_signature

    signature = maybe_signature(signature, app=current_app)
    if isinstance(signature, group):
        return sum(count_roots(member, inline=inline) for member in signature.tasks)
    if isinstance(signature, _chord):
        members = getattr(signature.tasks, "tasks", signature.tasks)
        headers = sum(count_roots(member, inline=inline) for member in members)
        if inline or not headers:
            return headers + count_roots(signature.body, inline=inline)
        return headers + _polled(signature.app)
    if isinstance(signature, _chain):
        steps = (count_roots(step, inline=inline) for step in signature.tasks)
        return sum(steps) if inline else next((count for count in steps if count), 0)
    return 0 if settings().excludes(signature.task) else 1


def _polled(app: Any) -> int:
    """Return 1 where the result backend has a job of Celery's own wait for the headers of a chord."""
    from celery.backends.base import Backend

    apply_chord = app.backend.apply_chord
    polled = getattr(apply_chord, "__func__", None) is Backend.apply_chord
    return int(polled and not settings().excludes(UNLOCK))


def header_runs(request: Any, execution: Execution) -> None:
    """Note the attempt of a chord's header, so that the body can link to it."""
    if not request.chord or not request.group:
        return
    runs = _headers.get(request.group)
    if runs is None:
        runs = _headers[request.group] = {}
        if len(_headers) > _MAX_CHORDS:
            _headers.popitem(last=False)
    if len(runs) < MAX_LINKS:
        runs[execution.job.job_id] = execution.span.get_span_context()


def body_of(execution: Execution | None, job_id: str) -> tuple[str, tuple[SpanContext, ...]]:
    """Return the group id and known headers of the chord whose body the running job publishes, ('', ()) otherwise."""
    from celery._state import get_current_task

    task = get_current_task()
    request = None if task is None else task.request
    if request is None or request.called_directly:
        return "", ()
    if execution is not None and request.id != execution.job.job_id:
        return "", ()
    chord, group_id = request.chord, request.group
    if task.name == UNLOCK and len(request.args or ()) > 1:
        group_id, chord = request.args[:2]
    if not isinstance(chord, dict) or job_id not in set(_first_ids(chord)):
        return "", ()
    return str(group_id or ""), tuple(_headers.get(str(group_id), {}).values())


def _first_ids(signature: Any) -> Iterator[str]:
    """Yield the ids of the jobs that a frozen canvas publishes first."""
    kwargs, kind = signature.get("kwargs") or {}, signature.get("subtask_type")
    if kind == "chain":
        for step in list(kwargs.get("tasks") or ())[:1]:
            yield from _first_ids(step)
    elif kind in ("group", "chord"):
        members = kwargs.get("tasks" if kind == "group" else "header") or ()
        if isinstance(members, dict):
            members = (members.get("kwargs") or {}).get("tasks") or ()
        for member in members:
            yield from _first_ids(member)
    else:
        yield str((signature.get("options") or {}).get("task_id") or "")
