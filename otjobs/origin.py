"""What caused a root job: the request, the schedule or the hand behind a dispatch.

A job dispatched deep inside a request runs under an inner span, which knows nothing of the route. A span processor
therefore hands each local span a reference to the SERVER or CONSUMER span it runs under.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.trace import SpanKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import Span

from contextlib import contextmanager

_ORIGIN: Final = "_otjobs_origin"
_TRIGGER: Final = otel_context.create_key("otjobs-trigger")


class OriginProcessor(SpanProcessor):
    """Lets every local span find the entry span (SERVER or CONSUMER) above it."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Note the entry span on a span that starts."""
        if span.kind is SpanKind.SERVER or span.kind is SpanKind.CONSUMER:
            setattr(span, _ORIGIN, span)
            return
        origin = getattr(trace.get_current_span(parent_context), _ORIGIN, None)
        if origin is not None:
            setattr(span, _ORIGIN, origin)


@contextmanager
def trigger(kind: str, name: str = "") -> Iterator[None]:
    """Say what triggers the root jobs dispatched inside the block.

    Args:
        kind: `request`, `schedule` or `manual`.
        name: route, schedule entry, or ''.
    """
    token = otel_context.attach(otel_context.set_value(_TRIGGER, (kind, name)))
    try:
        yield
    finally:
        otel_context.detach(token)


def find_trigger(context: Context) -> tuple[str, str]:
    """Return (trigger, trigger name) for a root job dispatched in this context."""
    given: Any = otel_context.get_value(_TRIGGER, context)
    if given is not None:
        return str(given[0]), str(given[1])
    span = trace.get_current_span(context)
    origin = getattr(span, _ORIGIN, None)
    if origin is None and getattr(span, "kind", None) is SpanKind.SERVER:
        origin = span  # started before the processor was installed
    if origin is None:
        return "manual", ""
    attributes = origin.attributes or {}
    return "request", str(attributes.get("http.route") or origin.name)
