"""What a dispatched job has from its surroundings: parent job, composite, labels, trigger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from opentelemetry import baggage, trace
from opentelemetry import context as otel_context
from opentelemetry.context import Context

from otjobs import given, triggers
from otjobs.config import settings
from otjobs.job import Parent
from otjobs.job_labels import labels_in
from otjobs.propagation import SPAN

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from otjobs.job import Job

_DISPATCHER: Final = otel_context.create_key("otjobs-dispatcher")
_COMPOSITE: Final = otel_context.create_key("otjobs-composite")


class Dispatcher(Protocol):
    """What dispatches jobs: the attempt that runs, or the traced job above an untraced one."""

    job: Job
    workflow_id: str

    def child(self, system: str, job_id: str) -> None:
        """Count a job that was dispatched."""

    def first_enqueue(self, system: str, job_id: str, enqueued_at: int) -> int:
        """Return when that job was first dispatched here, which is `enqueued_at` where it is not known already."""

    def enqueued(self, system: str, job_id: str, enqueued_at: int) -> None:
        """Correct what `first_enqueue` remembers."""


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


def with_dispatcher(context: Context, dispatcher: Dispatcher | None) -> Context:
    """Return the context in which this one dispatches."""
    return otel_context.set_value(_DISPATCHER, dispatcher, context)


def as_dispatcher(dispatcher: Dispatcher, span: Span, context: Context) -> Context:
    """Return the context in which this one dispatches, and this span is current."""
    return Context({**context, _DISPATCHER: dispatcher, SPAN: span})


def dispatcher_in(context: Context) -> Dispatcher | None:
    """Return what dispatches jobs in this context: the attempt that runs, or the one above an untraced job."""
    value: Any = context.get(_DISPATCHER)
    return value  # type: ignore[no-any-return]


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


def trace_of(context: Context) -> str:
    """Return the trace id of the current span of a context, 32 hex digits or ''."""
    own = trace.get_current_span(context).get_span_context()
    return f"{own.trace_id:032x}" if own.is_valid else ""


def inherit(job: Job, dispatcher: Dispatcher | None, context: Context) -> None:
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
    found.update(labels_in(context))
    found.update(job.labels)
    if found:
        job.labels = found
