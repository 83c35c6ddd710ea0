"""The application's own labels, which every job dispatched below them carries."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from opentelemetry import context as otel_context

from otjobs import given
from otjobs.faults import guard

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.context import Context

_LABELS: Final = otel_context.create_key("otjobs-labels")


@contextmanager
def labels(**values: object) -> Iterator[None]:
    """Give labels (`otjobs.label.*`) to every job dispatched inside the block; child jobs inherit them."""
    token = None
    with guard("labels could not be given"):
        context = otel_context.get_current()
        merged = {**labels_in(context), **given.labels(values)}
        token = otel_context.attach(otel_context.set_value(_LABELS, merged, context))
    try:
        yield
    finally:
        if token is not None:
            otel_context.detach(token)


def labels_in(context: Context) -> dict[str, str]:
    """Return the labels of the jobs dispatched in this context."""
    value = context.get(_LABELS)
    return value if isinstance(value, dict) else {}
