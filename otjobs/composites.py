"""Several jobs dispatched as one: a group, a chain, a batch."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import SpanKind

from otjobs.inherit import composite_in, dispatcher_in, with_composite
from otjobs.providers import tracer
from otjobs.wire import record_error

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def composite(kind: str, *, group_id: str = "", roots: int | None = None) -> Iterator[None]:
    """Dispatch several jobs as one composite: one trace, one workflow.

    Args:
        kind: `group`, `chord`, `chain`, ...; outside of any span an INTERNAL span `dispatch {kind}` holds it together.
        group_id: the library's id of the group, shared by its members.
        roots: how many root jobs the composite has; counts only where no job dispatches it.
    """
    context = otel_context.get_current()
    span = None
    if not trace.get_current_span(context).get_span_context().is_valid:
        span = tracer().start_span(f"dispatch {kind}", context=context, kind=SpanKind.INTERNAL)
        context = trace.set_span_in_context(span, context)
    if dispatcher_in(context) is not None:
        roots = None
    outer = composite_in(context)
    if outer is not None:  # a composite inside a composite: the outermost counts the roots
        roots = outer[1]
    token = otel_context.attach(with_composite(context, group_id, roots))
    try:
        yield
    except BaseException as error:
        if span is not None:
            record_error(span, type(error).__name__, error, expected=False)
        raise
    finally:
        otel_context.detach(token)
        if span is not None:
            span.end()
