"""What caused a root job: the request, the schedule or the hand behind a dispatch."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as otel_context

from otjobs import given
from otjobs.faults import guard
from otjobs.sdk.spans_above import local_spans
from otjobs.tracing import SCOPE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.context import Context

    from otjobs.attributes import Trigger

_TRIGGER: Final = otel_context.create_key("otjobs-trigger")


@contextmanager
def trigger(kind: Trigger, name: str = "") -> Iterator[None]:
    """Say what triggers the root jobs dispatched inside the block.

    Args:
        kind: request, schedule or manual.
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
    for span in local_spans(context):
        if span.instrumentation_scope.name == SCOPE:  # our own spans trigger nothing
            continue
        route = (span.attributes or {}).get("http.route")
        if route:
            return "request", given.text(route, "http.route")
        name = given.text(span.name, "the name of a span")
    return ("request", name) if name else ("manual", "")
