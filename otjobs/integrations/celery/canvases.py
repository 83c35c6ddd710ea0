"""Celery's canvases: groups, chains and chords as one workflow, chord bodies, replaced tasks."""

from __future__ import annotations

import sys
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as otel_context

from otjobs.composites import composite
from otjobs.config import settings
from otjobs.execution import execution_in
from otjobs.faults import guard
from otjobs.integrations._base import given_context
from otjobs.integrations.celery.replace import UNLOCK
from otjobs.surroundings import held_together
from otjobs.traceparent import MAX_LINKS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.trace import SpanContext

    from otjobs.execution import Execution

_MAX_CHORDS: Final = 1000
_headers: OrderedDict[str, dict[str, SpanContext]] = OrderedDict()
"""The attempts of chord headers that this process ran: group id -> job id -> execute span."""


def composite_of(kind: str, *, eager: bool = False) -> Callable[..., Any]:
    """Return the wrapper of a canvas's `apply_async` (or `apply`): its members are one workflow.

    The canvas is the user's. It is read and never written, and what it makes lazily is left to Celery: members are then
    published one by one, as the user's generator gives them.
    """

    def apply(wrapped: Callable[..., Any], canvas: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        context = otel_context.get_current()
        if held_together(context) or _is_empty(canvas):
            return wrapped(*args, **kwargs)
        roots = None
        with guard("the roots of a composite could not be counted"):
            roots = count_roots(canvas)
            if roots is not None and _depends_on_app(canvas):
                inline = eager or canvas.app.conf.task_always_eager
                roots = count_roots(canvas, inline=inline, polled=lambda: _polled(canvas.app))
        with guard("the context given to a canvas could not be read"):
            context = given_context(kwargs.get("headers") or canvas.options.get("headers"), context)
        with composite(kind, roots=roots, context=context):
            return wrapped(*args, **kwargs)

    return apply


def count_roots(signature: Any, *, inline: bool = False, polled: Callable[[], int] | None = None) -> int | None:
    """Return how many jobs a canvas publishes at once, None where only the user's code knows.

    That is members of groups, headers of chords, heads of chains. Run inline, every step of a chain and the body of a
    chord are published by the caller, too.

    Args:
        signature: a signature or its dict, which is only read.
        inline: whether it runs inline.
        polled: tells how many jobs Celery adds to each chord of its own.
    """
    kind, kwargs = signature.get("subtask_type"), signature.get("kwargs") or {}

    def among(members: Any) -> list[int] | None:
        if isinstance(members, dict):  # a header that is a group
            members = (members.get("kwargs") or {}).get("tasks")
        if type(members) not in (list, tuple):  # lazy; Celery's own list for that is a subclass
            return None
        counts = [count_roots(member, inline=inline, polled=polled) for member in members]
        known = [count for count in counts if count is not None]
        return known if len(known) == len(counts) else None

    if kind == "group":
        counts = among(kwargs.get("tasks"))
        return None if counts is None else sum(counts)
    if kind == "chord":
        counts = among(kwargs.get("header"))
        body = kwargs.get("body")
        if counts is None or body is None:
            return None
        if inline or not sum(counts):
            rest = count_roots(body, inline=inline, polled=polled)
            return None if rest is None else sum(counts) + rest
        return sum(counts) + (0 if polled is None else polled())
    if kind == "chain":
        counts = among(kwargs.get("tasks"))
        if counts is None:
            return None
        return sum(counts) if inline else next((count for count in counts if count), 0)
    return 0 if settings().excludes(str(signature.get("task"))) else 1


def _is_empty(canvas: Any) -> bool:
    tasks = (canvas.get("kwargs") or {}).get("tasks", (None,))
    return type(tasks) in (list, tuple) and not tasks


def _depends_on_app(signature: Any) -> bool:
    """Tell whether the settings of its application decide how many jobs a canvas publishes at once."""
    kwargs = signature.get("kwargs") or {}
    if signature.get("subtask_type") != "group":
        return signature.get("subtask_type") in ("chain", "chord")
    return any(_depends_on_app(member) for member in kwargs.get("tasks") or ())


def _polled(app: Any) -> int:
    """Return 1 where the result backend has a job of Celery's own wait for the headers of a chord."""
    apply_chord = app.backend.apply_chord
    own = getattr(apply_chord, "__qualname__", "") == "Backend.apply_chord"
    return int(own and not settings().excludes(UNLOCK))


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


def body_of(job_id: str) -> tuple[str, tuple[SpanContext, ...]]:
    """Return the group id and known headers of the chord whose body the running job publishes, ('', ()) otherwise."""
    task = sys.modules["celery._state"].get_current_task()
    request = None if task is None else task.request
    if request is None or request.called_directly:
        return "", ()
    execution = execution_in(otel_context.get_current())
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
