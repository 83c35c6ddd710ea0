"""The application's own propagators (`OTEL_PROPAGATORS`, `set_global_textmap`): what else travels with a job.

A job is linked by the `traceparent` of its carrier, whatever is configured. Baggage travels where the application's
propagators have it, and the fields of others (B3, Jaeger, an application's own) travel beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from opentelemetry import baggage, propagate, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from otjobs.faults import guard, warn
from otjobs.texts import mended, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from opentelemetry.propagators.textmap import TextMapPropagator
    from opentelemetry.trace import Span

MAX_BAGGAGE: Final = 8192
MAX_OTHERS: Final = 4096
"""Characters of all that other propagators write."""

_baggage: Final = W3CBaggagePropagator()
_known: Any = None
_has_baggage = True
_others: tuple[TextMapPropagator, ...] = ()


SPAN: Final = next(iter(trace.set_span_in_context(trace.INVALID_SPAN, Context())))
"""The key of the current span in a context."""


def with_span(span: Span, context: Context) -> Context:
    """Return the context with this span as the current one."""
    return Context({**context, SPAN: span})


def _flat(propagator: Any) -> Iterator[Any]:
    if isinstance(propagator, CompositePropagator):
        for one in propagator._propagators:  # noqa: SLF001  (there is no other way to see what it is made of)
            yield from _flat(one)
    else:
        yield propagator


def _look() -> None:
    """Find out what the global propagator is made of; the usual ones are cheaper when called directly."""
    global _known, _has_baggage, _others  # noqa: PLW0603
    current = propagate.get_global_textmap()
    if current is _known:
        return
    found: list[Any] = [current]
    with guard("the application's propagators cannot be told apart"):
        found = list(_flat(current))
    _has_baggage = any(type(one) is W3CBaggagePropagator for one in found)
    _others = tuple(one for one in found if type(one) not in (W3CBaggagePropagator, TraceContextTextMapPropagator))
    _known = current


def others() -> tuple[TextMapPropagator, ...]:
    """Return the application's propagators besides those of the W3C."""
    _look()
    return _others


def fields() -> frozenset[str]:
    """Return the header fields that an un-instrumented library may have written with the application's propagators."""
    found = {"traceparent", "tracestate"}
    _look()
    if _has_baggage:
        found.add("baggage")
    for one in _others:
        with guard("the fields of a propagator are unknown"):
            found.update(field for field in one.fields if isinstance(field, str))
    return frozenset(found)


def inject(out: dict[str, str], context: Context) -> None:
    """Write what travels besides the job's own fields."""
    _look()
    if _has_baggage and baggage.get_all(context):
        with guard("the baggage of a job cannot be written and does not travel"):
            carried: dict[str, str] = {}
            _baggage.inject(carried, context)
            if len(carried.get("baggage", "")) > MAX_BAGGAGE:
                warn("the baggage of a job is too large and does not travel", f"more than {MAX_BAGGAGE} bytes")
            else:
                out.update(carried)
    if not _others:
        return
    found: dict[Any, Any] = {}
    for one in _others:
        with guard("a propagator of the application failed to write into a job"):
            one.inject(found, context)
    room = MAX_OTHERS
    for key, value in found.items():
        if type(key) is str and type(value) is str and (room := room - len(key) - len(value)) >= 0:
            out[mended(key)] = mended(value)
        else:
            warn("a field of a propagator does not fit into a job and does not travel", shown(key))


def extract(data: Mapping[Any, Any], context: Context) -> Context:
    """Return the context with what travelled besides the job's own fields."""
    _look()
    header = data.get("baggage") if _has_baggage else None
    if isinstance(header, str) and len(header) <= MAX_BAGGAGE:
        with guard("the baggage of a job cannot be read"):
            context = _baggage.extract({"baggage": mended(header)}, context)
    if _others:
        readable = {key: value for key, value in data.items() if type(key) is str and type(value) is str}
        for one in _others:
            with guard("a propagator of the application failed to read a job"):
                context = one.extract(readable, context) or context
    return context
