"""Several jobs dispatched as one: a group, a chain, a batch."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import SpanKind

from otjobs import attributes as a
from otjobs import job as jobs
from otjobs.errors import guard
from otjobs.inherit import Composite, composite_in, dispatcher_in, with_composite
from otjobs.providers import tracer
from otjobs.wire import record_error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.context import Context
    from opentelemetry.trace import Span


@contextmanager
def composite(
    kind: str, *, group_id: str = "", roots: int | None = None, context: Context | None = None
) -> Iterator[None]:
    """Dispatch several jobs as one composite: one trace, one workflow.

    Outside of any span an INTERNAL span `dispatch {kind}` holds it together. At its end it says how many root jobs were
    really published; inside a span there is one for that alone, where the members did not carry this number.

    Args:
        kind: `group`, `chord`, `chain`, ...
        group_id: the library's id of the group, shared by its members.
        roots: how many root jobs the composite has, as far as that is known ahead; counts only where no job
            dispatches it.
        context: the context to dispatch it in, the current one by default.
    """
    context = otel_context.get_current() if context is None else context
    outer = composite_in(context)
    root = outer is None and dispatcher_in(context) is None  # of composites in each other the outermost counts
    found = Composite(group_id, roots if root else None, outer)
    began_at, name, surrounding, span = jobs.now(), f"dispatch {kind}", context, None
    if not trace.get_current_span(context).get_span_context().is_valid:
        with guard("the span around a composite could not be started"):
            span = _start(name, context, began_at)
            context = trace.set_span_in_context(span, context)
    token = otel_context.attach(with_composite(context, found))
    failure: BaseException | None = None
    try:
        yield
    except BaseException as error:
        failure = error
        raise
    finally:
        otel_context.detach(token)
        with guard("the span around a composite could not be ended"):
            if span is None and root and found.published != (roots or 0):
                span = _start(name, surrounding, began_at)
            if span is not None:
                if root:
                    span.set_attribute(a.WORKFLOW_ROOTS, found.published)
                if failure is not None:
                    record_error(span, type(failure).__name__, failure, expected=False)
                span.end(max(jobs.now(), began_at))


def _start(name: str, context: Context, began_at: int) -> Span:
    return tracer().start_span(name, context=context, kind=SpanKind.INTERNAL, start_time=began_at)
