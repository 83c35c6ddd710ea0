"""Which tracer, and which service, the spans of this process belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace
from opentelemetry.attributes import BoundedAttributes

from otjobs._version import __version__
from otjobs.faults import guard, warn
from otjobs.sdk import careful_encoder, fast_spans, isolated, own_attributes, spans_above
from otjobs.texts import MAX_TEXT, described
from otjobs.texts import bounded as bounded_text
from otjobs.times import LATEST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.context import Context
    from opentelemetry.trace import Link, Span, SpanKind, Tracer, TracerProvider

SCOPE: Final = "otjobs"
"""The name of the tracer of our own spans."""
SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.44.0"

_override: TracerProvider | None = None
_tracer: Tracer | None = None
_tracer_of: object = None
_service: str = ""
_light = False
_active = False


def use_tracer_provider(provider: TracerProvider | None) -> None:
    """Send spans to this provider instead of the global one; None goes back to the global one."""
    global _override, _tracer
    _override, _tracer = provider, None


def provider() -> TracerProvider:
    """Return the tracer provider in use."""
    return _override if _override is not None else trace.get_tracer_provider()


def tracer() -> Tracer:
    """Return the tracer, made once per provider."""
    global _tracer, _tracer_of, _service, _light, _active  # noqa: PLW0603
    current = provider()
    if _tracer is not None and _tracer_of is current:
        return _tracer
    made: Tracer = trace.NoOpTracer()
    with guard("the tracer provider gives no tracer: no job is traced"):
        made = current.get_tracer(SCOPE, __version__, schema_url=SCHEMA_URL)
    _tracer, _tracer_of, _service = made, current, ""
    # Without an SDK (OTEL_SDK_DISABLED, or none set up yet) there are no spans, and nothing is put into any payload.
    _active = not isinstance(made, (trace.NoOpTracer, trace.ProxyTracer))
    _light = False
    with guard("the tracer could not be prepared"):
        isolated.isolate(made)
        if hasattr(made, "_span_limits"):
            own_attributes.warn_of(made._span_limits)  # noqa: SLF001
        _light = fast_spans.usable(made)
    with guard("the tracer provider could not be prepared"):
        resource = getattr(current, "resource", None)
        _service = "" if resource is None else bounded_text(str(resource.attributes.get("service.name", "")))
        if hasattr(current, "add_span_processor") and not getattr(current, "_otjobs_spans_above", False):
            current.add_span_processor(spans_above.SpansAbove())
            current._otjobs_spans_above = True  # type: ignore[attr-defined]  # noqa: SLF001
            from otjobs.sdk import lifecycle

            lifecycle.prepare(current)
    if _active:
        careful_encoder.install()
    if _light:
        from otjobs.sdk import fast_encoder

        fast_encoder.install()
    return made


def active() -> bool:
    """Tell whether jobs are traced at all in this process: a disabled SDK makes no spans."""
    tracer()
    return _active


def start_span(
    name: str,
    *,
    context: Context,
    kind: SpanKind,
    attributes: dict[str, Any],
    start_time: int,
    links: Sequence[Link] = (),
) -> Span:
    """Start a span of a job, as cheaply as the SDK at hand allows; `start_time` is unix ns.

    The attributes are sound, and become the span's, which adds to them.
    A sampler, an id generator or a processor that raises costs this span, and nothing else.
    """
    current = tracer()
    if not name.isascii() or len(name) > MAX_TEXT:
        name = bounded_text(name)
    if not 0 <= start_time <= LATEST:
        start_time = min(max(start_time, 0), LATEST)
    try:
        if _light:
            return fast_spans.start_span(
                current, name, context=context, kind=kind, attributes=attributes, links=links, start_time=start_time
            )
        span = current.start_span(
            name, context=context, kind=kind, attributes=attributes, links=links, start_time=start_time
        )
    except Exception as error:
        warn("a span of a job could not be started, so the job is traced in part", described(error))
        return trace.NonRecordingSpan(trace.get_current_span(context).get_span_context())
    with guard("the attributes of a job's span cannot be kept apart from the application's"):
        found: Any = span
        if isinstance(getattr(found, "_attributes", None), BoundedAttributes):
            found._attributes = own_attributes.of(dict(attributes), found._attributes, found._limits)  # noqa: SLF001
    return span


def own_service() -> str:
    """Return this process's service name, '' when it is not known; known once `tracer` or `active` was called."""
    return _service
