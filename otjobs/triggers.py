"""What caused a root job: the request, the schedule or the hand behind a dispatch.

A job dispatched deep inside a request runs under an inner span, which knows nothing of the route. A span processor
therefore hands each local span a reference to the local span above it.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.trace import SpanKind

from otjobs import given
from otjobs.faults import guard, warn
from otjobs.texts import described

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import Span

SCOPE: Final = "otjobs"
"""The name of the tracer of our own spans, which trigger nothing."""

_ABOVE: Final = "_otjobs_above"
_TRIGGER: Final = otel_context.create_key("otjobs-trigger")
_ENTRY: Final = frozenset({SpanKind.SERVER, SpanKind.CONSUMER})
_DEEPEST: Final = 64


class OriginProcessor(SpanProcessor):
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
            warn("a span could not be followed to the request above it", described(error))

    def force_flush(self, timeout_millis: int = 30000) -> bool:  # noqa: ARG002  (the SDK's signature)
        """Tell that nothing waits here; the default answer stops a flush on older SDKs (1.40), before the exporters."""
        return True


@contextmanager
def trigger(kind: str, name: str = "") -> Iterator[None]:
    """Say what triggers the root jobs dispatched inside the block.

    Args:
        kind: `request`, `schedule` or `manual`.
        name: route, schedule entry, or ''.
    """
    token = None
    with guard("a trigger could not be given"):
        known = given.text(kind, "the kind of a trigger"), given.text(name, "the name of a trigger")
        token = otel_context.attach(otel_context.set_value(_TRIGGER, known))
    try:
        yield
    finally:
        if token is not None:
            otel_context.detach(token)


def find_trigger(context: Context) -> tuple[str, str]:
    """Return (trigger, trigger name) for a root job dispatched in this context.

    The name of a request is its route, wherever in its spans it is known, or else the name of its topmost span.
    """
    said: Any = otel_context.get_value(_TRIGGER, context)
    if said is not None:
        return said  # type: ignore[no-any-return]
    name = ""
    span: Any = trace.get_current_span(context)
    for _ in range(_DEEPEST):
        scope = getattr(span, "instrumentation_scope", None)
        if scope is None:  # no local span, or one that is not sampled
            break
        if scope.name != SCOPE:
            route = (span.attributes or {}).get("http.route")
            if route:
                return "request", given.text(route, "http.route")
            name = given.text(span.name, "the name of a span")
        if span.kind in _ENTRY:
            break
        span = getattr(span, _ABOVE, None)
    return ("request", name) if name else ("manual", "")
