"""Which tracer, and which service, the spans of this process belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import trace

from otjobs import light
from otjobs.errors import guard
from otjobs.origin import SCOPE, OriginProcessor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.context import Context
    from opentelemetry.trace import Link, Span, SpanKind, Tracer, TracerProvider

SCHEMA_URL = "https://opentelemetry.io/schemas/1.44.0"

_override: TracerProvider | None = None
_tracer: Tracer | None = None
_tracer_of: object = None
_service: str = ""
_light = False


def use_tracer_provider(provider: TracerProvider | None) -> None:
    """Send spans to this provider instead of the global one; None goes back to the global one."""
    global _override, _tracer
    _override, _tracer = provider, None


def provider() -> TracerProvider:
    """Return the tracer provider in use."""
    return _override if _override is not None else trace.get_tracer_provider()


def tracer() -> Tracer:
    """Return the tracer, made once per provider."""
    global _tracer, _tracer_of, _service, _light  # noqa: PLW0603
    current = provider()
    if _tracer is None or _tracer_of is not current:
        from otjobs._version import __version__

        _tracer = current.get_tracer(SCOPE, __version__, schema_url=SCHEMA_URL)
        _tracer_of = current
        _light = light.usable(_tracer)
        _service = ""
        with guard("the tracer provider could not be prepared"):
            resource = getattr(current, "resource", None)
            _service = "" if resource is None else str(resource.attributes.get("service.name", ""))
            if hasattr(current, "add_span_processor") and not getattr(current, "_otjobs_origin", False):
                current.add_span_processor(OriginProcessor())
                current._otjobs_origin = True  # type: ignore[attr-defined]  # noqa: SLF001
                from otjobs import lifecycle

                lifecycle.prepare(current)
        if _light:
            from otjobs import direct

            direct.install()
    return _tracer


def start_span(
    name: str,
    *,
    context: Context,
    kind: SpanKind,
    attributes: dict[str, Any],
    start_time: int,
    links: Sequence[Link] = (),
) -> Span:
    """Start a span of a job, as cheaply as the SDK at hand allows; `start_time` is unix ns."""
    current = tracer()
    if _light:
        return light.start_span(
            current, name, context=context, kind=kind, attributes=attributes, links=links, start_time=start_time
        )
    return current.start_span(
        name, context=context, kind=kind, attributes=attributes, links=links, start_time=start_time
    )


def own_service() -> str:
    """Return this process's service name, '' when it is not known."""
    tracer()
    return _service
