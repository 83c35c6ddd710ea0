"""Several jobs dispatched as one: a group, a chain, a batch."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import SpanKind

from otjobs import attributes as a
from otjobs import clock, given
from otjobs.faults import guard
from otjobs.span_errors import error_of, record_error
from otjobs.surroundings import Composite, composite_in, dispatcher_in, with_composite
from otjobs.tracing import start_span

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
    around = _Around()
    with guard("a composite could not be traced"):
        around.begin(
            given.text(kind, "kind") or "group",
            given.text(group_id, "group_id"),
            given.count(roots, "roots", least=0),
            otel_context.get_current() if context is None else context,
        )
    failure: BaseException | None = None
    try:
        yield
    except BaseException as error:
        failure = error
        raise
    finally:
        around.end(failure)


class _Around:
    """What is around the members of a composite while they are dispatched."""

    def __init__(self) -> None:
        self._token: Any = None
        self._found: Composite | None = None
        self._span: Span | None = None

    def begin(self, kind: str, group_id: str, roots: int | None, context: Context) -> None:
        """Make the composite current."""
        outer = composite_in(context)
        # Of composites in each other the outermost counts.
        self._root = outer is None and dispatcher_in(context) is None
        self._roots, self._surrounding = roots or 0, context
        self._began_at, self._name = clock.now(), f"dispatch {kind}"
        found = Composite(group_id, roots if self._root else None, outer)
        if not trace.get_current_span(context).get_span_context().is_valid:
            self._span = self._start()
            context = trace.set_span_in_context(self._span, context)
        self._token = otel_context.attach(with_composite(context, found))
        self._found = found

    def end(self, failure: BaseException | None) -> None:
        """End it, with what the block raised."""
        if self._found is None:
            return
        otel_context.detach(self._token)
        with guard("the span around a composite could not be ended"):
            published = self._found.published
            if self._span is None and self._root and published != self._roots:
                self._span = self._start()
            if self._span is None:
                return
            if self._root:
                self._span.set_attribute(a.WORKFLOW_ROOTS, published)
            error, reason = error_of(failure)
            if error is not None:
                record_error(self._span, reason, error, expected=False)
            self._span.end(max(clock.now(), self._began_at))

    def _start(self) -> Span:
        return start_span(
            self._name,
            context=self._surrounding,
            kind=SpanKind.INTERNAL,
            attributes={},
            start_time=self._began_at,
        )
