"""What a dispatched job has from its surroundings: parent job, composite, labels, trigger."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import baggage, trace
from opentelemetry import context as otel_context

from otjobs import given, triggers
from otjobs.carrier import decode, encode
from otjobs.config import settings
from otjobs.errors import guard
from otjobs.job import Job, Parent
from otjobs.span_attributes import job_from

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.context import Context

    from otjobs.spans import Execution

_DISPATCHER: Final = otel_context.create_key("otjobs-dispatcher")
_LABELS: Final = otel_context.create_key("otjobs-labels")
_COMPOSITE: Final = otel_context.create_key("otjobs-composite")


class Passage:
    """A job that is left untraced: what it dispatches belongs to whatever dispatched it."""

    __slots__ = ("job", "workflow_id")

    def __init__(self, job: Job, workflow_id: str) -> None:
        self.job = job
        """The nearest traced job above it; without an id where it was itself a root."""
        self.workflow_id = workflow_id

    def child(self, system: str, job_id: str) -> None:
        """Count nothing: the attempt above has reported, or cannot know."""

    def enqueued(self, system: str, job_id: str, enqueued_at: int) -> None:
        """Remember nothing, as `child`."""


class Composite:
    """Several jobs that are dispatched as one."""

    __slots__ = ("_published", "group_id", "roots")

    def __init__(self, group_id: str, roots: int | None, outer: Composite | None = None) -> None:
        self.group_id = group_id
        self.roots: int | None = roots if outer is None else outer.roots
        """How many root jobs it has, where that is known ahead."""
        self._published: set[int] = set() if outer is None else outer._published  # noqa: SLF001

    def child(self, system: str, job_id: str) -> None:
        """Count a root job that was published."""
        self._published.add(hash((system, job_id)))

    def enqueued(self, system: str, job_id: str, enqueued_at: int) -> None:
        """Remember nothing."""

    @property
    def published(self) -> int:
        """The number of distinct root jobs published so far."""
        return len(self._published)


def with_execution(context: Context, execution: Execution | Passage | None) -> Context:
    """Return the context in which this attempt runs."""
    return otel_context.set_value(_DISPATCHER, execution, context)


def dispatcher_in(context: Context) -> Execution | Passage | None:
    """Return what dispatches jobs in this context: the attempt that runs, or the one above an untraced job."""
    value: Any = context.get(_DISPATCHER)
    return value  # type: ignore[no-any-return]


def execution_in(context: Context) -> Execution | None:
    """Return the attempt that runs in this context."""
    found = dispatcher_in(context)
    return None if isinstance(found, Passage) else found


def held_together(context: Context) -> bool:
    """Tell whether jobs dispatched in this context are one workflow as it is: a job or a composite dispatches them."""
    if otel_context.get_value(_COMPOSITE, context) is not None:
        return True
    return dispatcher_in(context) is not None and trace.get_current_span(context).get_span_context().is_valid


def with_composite(context: Context, composite: Composite) -> Context:
    """Return the context in which the members of a composite are dispatched."""
    return otel_context.set_value(_COMPOSITE, composite, context)


def composite_in(context: Context) -> Composite | None:
    """Return the composite that is dispatched in this context."""
    value: Any = context.get(_COMPOSITE)
    return value  # type: ignore[no-any-return]


@contextmanager
def labels(**values: object) -> Iterator[None]:
    """Give labels (`otjobs.label.*`) to every job dispatched inside the block; child jobs inherit them."""
    token = None
    with guard("labels could not be given"):
        context = otel_context.get_current()
        merged = {**_labels_in(context), **given.labels(values)}
        token = otel_context.attach(otel_context.set_value(_LABELS, merged, context))
    try:
        yield
    finally:
        if token is not None:
            otel_context.detach(token)


def _labels_in(context: Context) -> dict[str, str]:
    value = context.get(_LABELS)
    return value if isinstance(value, dict) else {}


def trace_of(context: Context) -> str:
    """Return the trace id of the current span of a context, 32 hex digits or ''."""
    own = trace.get_current_span(context).get_span_context()
    return f"{own.trace_id:032x}" if own.is_valid else ""


def inherit(job: Job, dispatcher: Execution | Passage | None, context: Context) -> None:
    """Fill in what a published job has from the job or composite that dispatches it."""
    if not context:  # a producer outside of any span: nothing to find
        job.trigger = job.trigger or "manual"
        return
    found: dict[str, str] = {}
    if dispatcher is not None:
        parent = dispatcher.job
        job.workflow_id = dispatcher.workflow_id
        if parent.job_id:
            job.parent = Parent(parent.job_id, parent.job_type, parent.attempt)
            job.workflow_type = parent.workflow_type or parent.job_type
            job.workflow_started_at = parent.workflow_started_at or parent.enqueued_at
        else:
            job.trigger, job.trigger_name = parent.trigger, parent.trigger_name
        found.update(parent.labels)
    elif not job.trigger:
        job.trigger, job.trigger_name = triggers.find_trigger(context)
    group = composite_in(context)
    if group is not None:
        job.group_id = job.group_id or group.group_id
        if dispatcher is None and job.roots is None:
            job.roots = group.roots
    keys = settings().baggage_labels
    if keys:
        carried = baggage.get_all(context)
        found.update(given.labels({key: carried[key] for key in keys if key in carried}, "baggage"))
    found.update(_labels_in(context))
    found.update(job.labels)
    if found:
        job.labels = found


def passing(context: Context) -> dict[str, str]:
    """Return the carrier of a job that is left untraced: that of its dispatcher, where its children belong."""
    dispatcher = dispatcher_in(context)
    job = Job(system="", job_type="", job_id="")
    inherit(job, dispatcher, context)
    if dispatcher is not None:
        job = dispatcher.job.changed(labels=job.labels, workflow_id=dispatcher.workflow_id)
    return encode(job, trace.get_current_span(context).get_span_context(), context)


def passage(raw: object) -> Context:
    """Return the context in which an untraced job runs, from the carrier made by `passing` (or its own)."""
    carrier = decode(raw)
    if not carrier.known:
        return carrier.context
    job = job_from(carrier, {})
    own = "" if carrier.dispatch is None else f"{carrier.dispatch.trace_id:032x}"
    return with_execution(carrier.context, Passage(job, job.workflow_id or own))
