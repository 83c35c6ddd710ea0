"""Job spans as OTLP bytes, written directly: protobuf's generated classes cost five times as much.

Encoding is the dearest part of a traced job (bench/celery_overhead.py), and it holds the interpreter lock. Only spans
of `otjobs.sdk.fast_spans` with nothing but plain attributes and links are written here; all others in a batch are left
to the SDK's encoder, and the two results are put together: joined protobuf messages are their merged message. `install`
tries the result against the SDK's first, and changes nothing where they differ.

Field numbers: https://github.com/open-telemetry/opentelemetry-proto/blob/main/opentelemetry/proto/trace/v1/trace.proto
"""

from __future__ import annotations

import struct
import sys
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Link, SpanContext, SpanKind, StatusCode, TraceFlags

from otjobs.faults import guard
from otjobs.sdk import fast_spans
from otjobs.sdk.own_attributes import PLAIN, Attributes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

EXPORTER: Final = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
FEWEST: Final = 8
"""Smaller batches are not worth the envelope."""

_KINDS: Final = {
    SpanKind.INTERNAL: 1,
    SpanKind.SERVER: 2,
    SpanKind.CLIENT: 3,
    SpanKind.PRODUCER: 4,
    SpanKind.CONSUMER: 5,
}
_LOCAL, _REMOTE = struct.pack("<I", 0x100), struct.pack("<I", 0x300)  # SpanFlags: known to be local, known to be remote
_UINT64: Final = (1 << 64) - 1
_REMEMBERED_TEXT: Final = 30
_REMEMBERED: Final = 4_096
_fixed64 = struct.Struct("<Q").pack
_double = struct.Struct("<d").pack
_small: Final = tuple(bytes((number,)) for number in range(128))


def _varint(number: int) -> bytes:
    if number < 128:
        return _small[number]
    out = bytearray()
    while number >= 128:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _field(tag: bytes, payload: bytes) -> bytes:
    return tag + _varint(len(payload)) + payload


def _attribute(key: str, value: Any) -> bytes:
    kind = type(value)
    if kind is str:
        any_value = _field(b"\x0a", value.encode())
    elif kind is bool:
        any_value = b"\x10\x01" if value else b"\x10\x00"
    elif kind is int:
        if not -(1 << 63) <= value < 1 << 63:
            raise OverflowError(key)
        any_value = b"\x18" + _varint(value & _UINT64)
    else:
        any_value = b"\x21" + _double(value)
    return _field(b"\x4a", _field(b"\x0a", key.encode()) + _field(b"\x12", any_value))


class _Writer:
    """Writes spans; remembers the attributes that come again and again."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, type, Any], bytes] = {}

    def _attributes(self, attributes: dict[str, Any]) -> bytes:
        known = self._known
        out = []
        for key, value in attributes.items():
            name = (key, type(value), value)  # 1, 1.0 and True are equal, and encoded differently
            encoded = known.get(name)
            if encoded is None:
                encoded = _attribute(key, value)
                if (type(value) is str and len(value) <= _REMEMBERED_TEXT) or (
                    type(value) in (int, bool) and 0 <= value < 128
                ):
                    if len(known) >= _REMEMBERED:
                        known.clear()
                    known[name] = encoded
            out.append(encoded)
        return b"".join(out)

    def span(self, span: Any) -> bytes:
        """Return a span as field 2 of a ScopeSpans message."""
        context, parent = span._context, span._parent  # noqa: SLF001
        out = [b"\x0a\x10", context.trace_id.to_bytes(16, "big"), b"\x12\x08", context.span_id.to_bytes(8, "big")]
        if parent is not None:
            out += (b"\x22\x08", parent.span_id.to_bytes(8, "big"))
        out += (
            _field(b"\x2a", span._name.encode()),  # noqa: SLF001
            b"\x30" + _small[_KINDS[span._kind]],  # noqa: SLF001
            b"\x39" + _fixed64(span._start_time),  # noqa: SLF001
            b"\x41" + _fixed64(span._end_time),  # noqa: SLF001
            self._attributes(span._attributes._dict),  # noqa: SLF001
        )
        for link in span._links:  # noqa: SLF001
            target = link.context
            ids = b"\x0a\x10" + target.trace_id.to_bytes(16, "big") + b"\x12\x08" + target.span_id.to_bytes(8, "big")
            out.append(_field(b"\x6a", ids + b"\x35" + (_REMOTE if target.is_remote else _LOCAL)))
        remote = parent is not None and parent.is_remote
        out += (b"\x7a\x00", b"\x85\x01", _REMOTE if remote else _LOCAL)  # an unset status; flags
        return _field(b"\x12", b"".join(out))


def _is_simple(span: Any) -> bool:
    """Tell whether a span has only what this module writes."""
    attributes = span._attributes  # noqa: SLF001
    return (
        type(attributes) is Attributes
        and not attributes.dropped
        and not span._events  # noqa: SLF001
        and span._status.status_code is StatusCode.UNSET  # noqa: SLF001
        and not span._context.trace_state  # noqa: SLF001
        and not any(link.attributes for link in span._links)  # noqa: SLF001
        and PLAIN.issuperset(map(type, attributes._dict.values()))  # noqa: SLF001
    )


class Encoded:
    """A request that is encoded already, for an exporter that goes on to serialise it."""

    __slots__ = ("_body",)

    def __init__(self, body: bytes) -> None:
        self._body = body

    def SerializeToString(self) -> bytes:  # noqa: N802  (protobuf's name)
        """Return the bytes."""
        return self._body

    SerializePartialToString = SerializeToString


class Encoder:
    """Takes the place of `encode_spans` of the OTLP exporters.

    Args:
        original: the SDK's `encode_spans`, or what takes its place.
    """

    careful = True
    """What cannot be written here is left to `original`, which leaves out single spans."""

    def __init__(self, original: Callable[[Sequence[ReadableSpan]], Any]) -> None:
        self.original = original
        self._writer = _Writer()

    def __call__(self, spans: Sequence[ReadableSpan]) -> Any:
        """Return the request of these spans."""
        if len(spans) >= FEWEST:
            with guard("job spans could not be encoded directly"):
                body = self.encode(spans)
                if body is not None:
                    return Encoded(body)
        return self.original(spans)

    def encode(self, spans: Sequence[Any]) -> bytes | None:
        """Return the bytes of the request, None where too little of it can be written here."""
        groups: dict[tuple[int, int], tuple[Any, list[bytes]]] = {}
        others: list[Any] = []
        for span in spans:
            if len(others) > len(spans) - FEWEST:
                return None
            written = self._written(span) if _is_simple(span) else None
            if written is None:
                others.append(span)
                continue
            key = (id(span._resource), id(span._instrumentation_scope))  # noqa: SLF001
            groups.setdefault(key, (span, []))[1].append(written)
        if len(others) > len(spans) - FEWEST:
            return None
        out = [self.original(others).SerializePartialToString()] if others else []
        out += [self._group(first, parts) for first, parts in groups.values()]
        return b"".join(out)

    def _written(self, span: Any) -> bytes | None:
        try:
            return self._writer.span(span)
        except Exception:
            return None

    def _group(self, first: Any, parts: Sequence[bytes]) -> bytes:
        """Return spans of one resource and scope as field 1 of the request; the SDK makes the envelope."""
        (resource_spans,) = self.original([first]).resource_spans
        (scope_spans,) = resource_spans.scope_spans
        scope_spans.ClearField("spans")
        scope = scope_spans.SerializePartialToString()
        resource_spans.ClearField("scope_spans")
        resource = resource_spans.SerializePartialToString()
        return _field(b"\x0a", resource + _field(b"\x12", scope + b"".join(parts)))


def install() -> bool:
    """Let the OTLP/HTTP exporter of this process, if it is loaded, write job spans directly; tell whether it does."""
    exporter: Any = sys.modules.get(EXPORTER)
    original = getattr(exporter, "encode_spans", None)
    if original is None or isinstance(original, Encoder):
        return original is not None
    with guard("job spans cannot be encoded directly"):
        encoder = Encoder(original)
        if _same(encoder):
            exporter.encode_spans = encoder
            return True
    return False


def _same(encoder: Encoder) -> bool:
    """Tell whether spans with everything this module writes come out as the SDK would have written them."""
    spans = list(_samples())
    expected = encoder.original(spans)
    body = encoder.encode(spans)
    return body is not None and type(expected).FromString(body) == expected


def _samples() -> Iterable[ReadableSpan]:
    remote = SpanContext(1 << 127 | 5, 1 << 63 | 7, is_remote=True, trace_flags=TraceFlags(1))
    provider = TracerProvider(
        resource=Resource({"service.name": "s", "n": 1}), sampler=ALWAYS_ON, shutdown_on_exit=False
    )
    tracer = provider.get_tracer("otjobs", "1", "https://example.com/schema")
    attributes: dict[str, Any] = {"s": "ä" * 200, "i": 1 << 62, "n": -1, "z": 0, "f": 0.5, "t": True, "u": False}
    above = trace.set_span_in_context(trace.NonRecordingSpan(remote), Context())
    for number in range(FEWEST):
        kind = SpanKind.CONSUMER if number % 2 else SpanKind.PRODUCER
        context = above if number % 2 else Context()
        links = [Link(remote)] * (number % 3)
        span: Any = fast_spans.start_span(
            tracer, f"x {number}", context=context, kind=kind, attributes=attributes, links=links, start_time=1 << 60
        )
        above = trace.set_span_in_context(span, Context()) if number == 3 else above
        span._end_time = 1 << 61  # noqa: SLF001  (nothing is to be exported)
        yield span._readable_span()  # noqa: SLF001
