"""Which tracer, and which service, the spans of this process belong to."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace

from otjobs._version import __version__
from otjobs.faults import guard, note
from otjobs.sdk import careful_encoder, exporters, grpc_forks, isolated, lifecycle, patches, path, sound, spans_above
from otjobs.texts import MAX_TEXT
from otjobs.texts import bounded as bounded_text
from otjobs.times import LATEST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.context import Context
    from opentelemetry.trace import Link, Span, SpanKind, Tracer, TracerProvider

SCOPE: Final = "otjobs"
"""The name of the tracer of our own spans."""
SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.44.0"

_PREPARED: Final = "_otjobs_patches"
"""The attribute of a prepared provider that holds what was replaced for it."""

_override: TracerProvider | None = None
_tracer: Tracer | None = None
_tracer_of: object = None
_service: str = ""
_path = path.Path("there is no tracer yet")
_active = False
_holders: Final[set[str]] = set()
"""The integrations that are in use."""
_prepared: Final[weakref.WeakSet[Any]] = weakref.WeakSet()


def use_tracer_provider(provider: TracerProvider | None) -> None:
    """Send spans to this provider instead of the global one; None goes back to the global one."""
    global _override, _tracer
    _override, _tracer = provider, None
    lifecycle.use(provider)


def provider() -> TracerProvider:
    """Return the tracer provider in use."""
    return _override if _override is not None else trace.get_tracer_provider()


def tracer() -> Tracer:
    """Return the tracer, made once per provider."""
    global _tracer, _tracer_of, _service, _path, _active  # noqa: PLW0603
    current = trace.get_tracer_provider() if _override is None else _override
    if _tracer is not None and _tracer_of is current:
        return _tracer
    made: Tracer = trace.NoOpTracer()
    with guard("the tracer provider gives no tracer: no job is traced"):
        made = current.get_tracer(SCOPE, __version__, schema_url=SCHEMA_URL)
    _tracer, _tracer_of, _service = made, current, ""
    # Without an SDK (OTEL_SDK_DISABLED, or none set up yet) there are no spans, and nothing is put into any payload.
    _active = not isinstance(made, (trace.NoOpTracer, trace.ProxyTracer))
    with guard("the tracer provider could not be prepared"):
        resource = getattr(current, "resource", None)
        _service = "" if resource is None else bounded_text(str(resource.attributes.get("service.name", "")))
        _prepare(current)
    with guard("the tracer could not be prepared"):
        isolated.isolate(made, getattr(current, _PREPARED, patches.process))
        limits = exporters.limits_of(made)
        if limits is not None:
            sound.warn_of(limits)
    if _active:
        careful_encoder.install()
        _path = path.choose(made)
        path.say(_path)
        if _path.start_span is not None:
            path.encode_directly(patches.process)
    return made


def _prepare(current: Any) -> None:
    if not hasattr(current, "add_span_processor") or hasattr(current, _PREPARED):
        return
    for_it = patches.Patches()
    for_it.replace(current, _PREPARED, for_it)
    _prepared.add(current)
    above = spans_above.SpansAbove()
    current.add_span_processor(above)
    for_it.on_undo(lambda: exporters.remove_processor(current, above))
    lifecycle.prepare(current, for_it)


def prepare_to_fork() -> None:
    """Make the exporters of this process, which is about to fork workers, safe for these."""
    tracer()
    grpc_forks.keep_out(provider())


def hold(holder: str) -> None:
    """Note that this integration is in use."""
    _holders.add(holder)


def release(holder: str) -> None:
    """Note that this integration is no longer in use; behind the last of them, the SDK is as it was before."""
    _holders.discard(holder)
    if not _holders:
        restore()


def restore() -> None:
    """Take back all that was changed in the SDK of this process; the next span of a job changes it again."""
    global _tracer  # noqa: PLW0603
    _tracer = None
    for current in list(_prepared):
        with guard("a tracer provider could not be restored"):
            getattr(current, _PREPARED).undo()
    _prepared.clear()
    patches.process.undo()
    lifecycle.forget()


def active() -> bool:
    """Tell whether jobs are traced at all in this process: a disabled SDK makes no spans."""
    if _tracer is None or _tracer_of is not (trace.get_tracer_provider() if _override is None else _override):
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
    current = _tracer
    if current is None or _tracer_of is not (trace.get_tracer_provider() if _override is None else _override):
        current = tracer()
    if not name.isascii() or len(name) > MAX_TEXT:
        name = bounded_text(name)
    if not 0 <= start_time <= LATEST:
        start_time = min(max(start_time, 0), LATEST)
    fast = _path.start_span
    try:
        if fast is not None:
            return fast(current, name, context, kind, attributes, links, start_time)
        span = current.start_span(
            name, context=context, kind=kind, attributes=attributes, links=links, start_time=start_time
        )
    except Exception as error:
        note("a span of a job could not be started, so the job is traced in part", error)
        return trace.NonRecordingSpan(trace.get_current_span(context).get_span_context())
    if _path.keep_apart is not None:
        with guard("the attributes of a job's span cannot be kept apart from the application's"):
            _path.keep_apart(span, attributes)
    return span


def own_service() -> str:
    """Return this process's service name, '' when it is not known; known once `tracer` or `active` was called."""
    return _service
