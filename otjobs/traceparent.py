"""Span contexts as text: a W3C traceparent, and the links of a job to several of them."""

from __future__ import annotations

import re
from typing import Final

from opentelemetry.trace import SpanContext, TraceFlags, TraceState

from otjobs.faults import guard
from otjobs.span_contexts import valid_context
from otjobs.texts import mended

MAX_LINKS: Final = 100
MAX_STATE: Final = 8192
# https://www.w3.org/TR/trace-context/#traceparent-header: version ff is forbidden, later versions may add fields.
_TRACEPARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_USUAL_FLAGS: Final = {"01": TraceFlags(1), "03": TraceFlags(3)}


def format_traceparent(context: SpanContext) -> str:
    """Return the W3C traceparent of a span context."""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def parse_traceparent(text: object, state: object = None) -> SpanContext | None:
    """Return the remote span context of a W3C traceparent, None if it is not one."""
    found = _TRACEPARENT.fullmatch(text) if isinstance(text, str) and len(text) <= 128 else None
    if found is None:
        return None
    trace_id, span_id = int(found[1], 16), int(found[2], 16)
    if not trace_id or not span_id:
        return None
    trace_state = None
    if isinstance(state, str) and state and len(state) <= MAX_STATE:
        with guard("the tracestate of a job cannot be read"):
            trace_state = TraceState.from_header([mended(state)])  # it logs what it cannot read
    flags = _USUAL_FLAGS.get(found[3]) or TraceFlags(int(found[3], 16))
    return valid_context(trace_id, span_id, True, flags, trace_state)  # noqa: FBT003


def format_links(links: tuple[SpanContext, ...], dispatch: SpanContext | None) -> str:
    """Return span contexts as `trace-span` in hex, without the trace where it is the dispatch's."""
    own = 0 if dispatch is None else dispatch.trace_id
    return ",".join(
        f"{link.span_id:016x}" if link.trace_id == own else f"{link.trace_id:032x}-{link.span_id:016x}"
        for link in links[:MAX_LINKS]
        if link.is_valid
    )


def parse_links(text: str, dispatch: SpanContext | None) -> tuple[SpanContext, ...]:
    """Return what `format_links` wrote, () where it cannot be read."""
    own = "" if dispatch is None else f"{dispatch.trace_id:032x}-"
    flags = 1 if dispatch is None else dispatch.trace_flags
    found = []
    for part in text.split(",")[:MAX_LINKS]:
        context = parse_traceparent(f"00-{part if '-' in part else own + part}-{flags:02x}")
        if context is None:
            return ()
        found.append(context)
    return tuple(found)
