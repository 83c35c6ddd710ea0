"""Lets a span find the local spans above it, up to the request that its process serves.

A job dispatched deep inside a request runs under an inner span, which knows nothing of the route. A span processor
therefore hands each local span a reference to the local span above it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.trace import SpanKind

from otjobs.faults import note

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import Span

_ABOVE: Final = "_otjobs_above"
_ENTRY: Final = frozenset({SpanKind.SERVER, SpanKind.CONSUMER})
_DEEPEST: Final = 64


class SpansAbove(SpanProcessor):
    """Lets every local span find the local spans above it, up to the entry span (SERVER or CONSUMER)."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Note the span above on a local span that starts, unless it is an entry span itself."""
        try:
            parent = span.parent
            if parent is None or parent.is_remote or span.kind in _ENTRY:
                return
            above = trace.get_current_span(parent_context)
            if getattr(above, "instrumentation_scope", None) is not None:
                setattr(span, _ABOVE, above)
        except Exception as error:  # the application's own span
            note("a span could not be followed to the request above it", error)

    def force_flush(self, timeout_millis: int = 30000) -> bool:  # noqa: ARG002  (the SDK's signature)
        """Tell that nothing waits here; the default answer stops a flush on older SDKs (1.40), before the exporters."""
        return True


def local_spans(context: Context) -> Iterator[Any]:
    """Return the current span of a context and the local spans above it, up to the entry span of its request."""
    span: Any = trace.get_current_span(context)
    for _ in range(_DEEPEST):
        if getattr(span, "instrumentation_scope", None) is None:  # no local span, or one that is not sampled
            return
        yield span
        if span.kind in _ENTRY:
            return
        span = getattr(span, _ABOVE, None)
