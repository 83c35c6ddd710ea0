"""A tracer on which the SDK's inside is tried out, and how two of its spans are compared.

Neither the ids nor the processors of the real provider are touched, and no setting of the environment counts. Only
public names of the SDK are used here.
"""

from __future__ import annotations

from typing import Any, Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags, Tracer

ATTRIBUTES: Final[dict[str, Any]] = {"a": 1, "b": "c"}
REMOTE: Final = SpanContext(1, 3, is_remote=True, trace_flags=TraceFlags(1))


class _SameIds(IdGenerator):
    """The same ids for each span."""

    def generate_span_id(self) -> int:
        return 2

    def generate_trace_id(self) -> int:
        return 1


def tracer() -> Tracer:
    """Return a tracer of the SDK that records everything, whole."""
    limits = SpanLimits(
        max_attributes=128, max_events=128, max_links=128, max_span_attributes=128, max_event_attributes=128,
        max_link_attributes=128, max_attribute_length=SpanLimits.UNSET, max_span_attribute_length=SpanLimits.UNSET,
    )  # fmt: skip
    provider = TracerProvider(
        sampler=ALWAYS_ON, resource=Resource({}), id_generator=_SameIds(), span_limits=limits, shutdown_on_exit=False
    )
    return provider.get_tracer("otjobs")


def come_out_the_same(theirs: Any, ours: Any) -> bool:
    """Tell whether two spans are the same after everything that an application may do with them; it ends them."""
    for span in (theirs, ours):
        span.set_attributes({"late": True, "list": ["x"]})
        span.set_attribute("later", 0.5)
        span.set_status(Status(StatusCode.ERROR, "e"))
        span.add_event("event", {"k": 1}, timestamp=2)
        span.add_link(REMOTE, {"l": 1})
        span.update_name("renamed")
        span.end(3)
    return bool(theirs.to_json() == ours.to_json() and theirs.get_span_context() == ours.get_span_context())
