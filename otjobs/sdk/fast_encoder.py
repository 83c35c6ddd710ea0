"""Job spans as OTLP bytes, written directly: protobuf's generated classes cost five times as much.

Encoding is the dearest part of a traced job (bench/celery_overhead.py), and it holds the interpreter lock. Only spans
of `otjobs.sdk.fast_spans` with nothing but plain attributes and links are written here; all others in a batch are left
to the SDK's encoder. What is written is read into the SDK's own messages, which costs next to nothing, so that whoever
calls the SDK's `encode_spans` gets what it always answers: OpenTelemetry's exporters over HTTP and gRPC, and any other.

`install` takes the place of the function inside `encode_spans` that makes the messages of a request. It tries the
result against the SDK's first, and changes nothing where they differ.

Field numbers: https://github.com/open-telemetry/opentelemetry-proto/blob/main/opentelemetry/proto/trace/v1/trace.proto
"""

from __future__ import annotations

import struct
import sys
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Link, SpanContext, SpanKind, StatusCode, TraceFlags
from wrapt import register_post_import_hook

from otjobs.faults import guard
from otjobs.sdk import fast_spans
from otjobs.sdk.own_attributes import Attributes
from otjobs.varint import varint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

MODULE: Final = "opentelemetry.exporter.otlp.proto.common._internal.trace_encoder"
PART: Final = "_encode_resource_spans"
"""What `encode_spans` of that module calls for the messages of a request, by this name, each time."""
FEWEST: Final = 8
"""Smaller batches are not worth the envelope."""

_KINDS: Final = {
    SpanKind.INTERNAL: b"\x30\x01",
    SpanKind.SERVER: b"\x30\x02",
    SpanKind.CLIENT: b"\x30\x03",
    SpanKind.PRODUCER: b"\x30\x04",
    SpanKind.CONSUMER: b"\x30\x05",
}
_LOCAL, _REMOTE = struct.pack("<I", 0x100), struct.pack("<I", 0x300)  # SpanFlags: known to be local, known to be remote
_UNSET_AND_LOCAL: Final = b"\x7a\x00\x85\x01" + _LOCAL  # the status, and the flags behind it
_UNSET_AND_REMOTE: Final = b"\x7a\x00\x85\x01" + _REMOTE
_UINT64: Final = (1 << 64) - 1
_REMEMBERED_TEXT: Final = 256
_REMEMBERED: Final = 4_096
_ids: Final = struct.Struct(">QQ").pack
_id: Final = struct.Struct(">Q").pack
_times: Final = struct.Struct("<BQBQ").pack
_double: Final = struct.Struct("<d").pack


def _kept(known: dict[Any, bytes], key: Any, encoded: bytes) -> bytes:
    if len(known) >= _REMEMBERED:
        known.clear()
    known[key] = encoded
    return encoded


def _long_varint(number: int) -> bytes:
    """Return a number of nine groups of seven bits, as today's unix ns are, in one go."""
    return bytes(
        (
            number & 127 | 128, number >> 7 & 127 | 128, number >> 14 & 127 | 128, number >> 21 & 127 | 128,
            number >> 28 & 127 | 128, number >> 35 & 127 | 128, number >> 42 & 127 | 128, number >> 49 & 127 | 128,
            number >> 56,
        )
    )  # fmt: skip


def _field(tag: bytes, payload: bytes) -> bytes:
    return tag + varint(len(payload)) + payload


def _head(key: str, tag: bytes, length: int) -> bytes:
    """Return all of an attribute that stands before the bytes of its value."""
    name = _field(b"\x0a", key.encode())
    value = b"\x12" + varint(len(tag) + length) + tag
    return b"\x4a" + varint(len(name) + len(value) + length) + name + value


class _Writer:
    """Writes spans; remembers the attributes, and beginnings of attributes, that come again and again."""

    def __init__(self) -> None:
        self._texts: dict[tuple[str, str], bytes] = {}
        self._numbers: dict[tuple[str, int], bytes] = {}
        self._text_heads: dict[tuple[str, int], bytes] = {}
        self._number_heads: dict[tuple[str, int], bytes] = {}
        self._double_heads: dict[str, bytes] = {}

    def _attributes(self, attributes: dict[str, Any], out: list[bytes]) -> None:
        texts, numbers, doubles = self._texts, self._numbers, self._double_heads
        for key, value in attributes.items():
            kind = type(value)
            if kind is str:
                out.append(texts.get((key, value)) or self._text(key, value))
            elif kind is int:
                out.append(numbers.get((key, value)) or self._number(key, value))
            elif kind is float:
                head = doubles.get(key) or _kept(doubles, key, _head(key, b"\x21", 8))
                out.append(head + _double(value))
            elif kind is bool:
                out.append(_head(key, b"\x10", 1) + varint(value))
            else:
                raise TypeError(key)

    def _text(self, key: str, value: str) -> bytes:
        data = value.encode()
        size = len(data)
        head = self._text_heads.get((key, size))
        if head is None:
            head = _kept(self._text_heads, (key, size), _head(key, b"\x0a" + varint(size), size))
        if size > _REMEMBERED_TEXT or key.endswith(".id"):  # each job has its own
            return head + data
        return _kept(self._texts, (key, value), head + data)

    def _number(self, key: str, value: int) -> bytes:
        if 1 << 56 <= value < 1 << 63:
            data = _long_varint(value)
        elif -(1 << 63) <= value < 1 << 63:
            data = varint(value & _UINT64)
        else:
            raise OverflowError(key)
        head = self._number_heads.get((key, len(data)))
        if head is None:
            head = _kept(self._number_heads, (key, len(data)), _head(key, b"\x18", len(data)))
        return _kept(self._numbers, (key, value), head + data) if 0 <= value < 128 else head + data

    def span(self, span: Any) -> bytes:
        """Return a span as field 2 of a ScopeSpans message; raises where there is in it what is not written here."""
        context, parent = span._context, span._parent  # noqa: SLF001
        name = span._name.encode()  # noqa: SLF001
        trace_id = context.trace_id
        out = [
            b"\x0a\x10",
            _ids(trace_id >> 64, trace_id & _UINT64),
            b"\x12\x08",
            _id(context.span_id),
            b"" if parent is None else b"\x22\x08" + _id(parent.span_id),
            b"\x2a",
            varint(len(name)),
            name,
            _KINDS[span._kind],  # noqa: SLF001
            _times(0x39, span._start_time, 0x41, span._end_time),  # noqa: SLF001
        ]
        self._attributes(span._attributes._dict, out)  # noqa: SLF001
        for link in span._links:  # noqa: SLF001
            if link.attributes:
                raise TypeError
            target = link.context
            trace_id = target.trace_id
            ids = b"\x0a\x10" + _ids(trace_id >> 64, trace_id & _UINT64) + b"\x12\x08" + _id(target.span_id)
            out.append(b"\x6a\x21" + ids + b"\x35" + (_REMOTE if target.is_remote else _LOCAL))
        out.append(_UNSET_AND_REMOTE if parent is not None and parent.is_remote else _UNSET_AND_LOCAL)
        body = b"".join(out)
        return b"\x12" + varint(len(body)) + body


def _is_simple(span: Any) -> bool:
    """Tell whether a span may be written here; one of somebody else's class may show other things than it holds."""
    if type(span) is not ReadableSpan:
        return False
    found: Any = span
    attributes = found._attributes  # noqa: SLF001
    return (
        type(attributes) is Attributes
        and not attributes.dropped
        and not found._events  # noqa: SLF001
        and found._status.status_code is StatusCode.UNSET  # noqa: SLF001
        and not found._context.trace_state  # noqa: SLF001
    )


class _Group:
    """Spans of one resource and scope: the SDK encodes the first and its envelope, the rest is written here."""

    def __init__(self, first: Any) -> None:
        self.first = first
        self.rest: list[bytes] = []

    def add_to(self, messages: Sequence[Any]) -> None:
        """Put the rest beside the first."""
        span_id = self.first.context.span_id.to_bytes(8, "big")
        for message in messages:
            for scope in message.scope_spans:
                if any(span.span_id == span_id for span in reversed(scope.spans)):
                    scope.MergeFromString(b"".join(self.rest))
                    return


class Encoder:
    """Takes the place of the function that makes the messages of a request, one for each resource.

    Args:
        original: the SDK's function.
    """

    def __init__(self, original: Callable[[Sequence[ReadableSpan]], list[Any]]) -> None:
        self.original = original
        self._writer = _Writer()

    def __call__(self, spans: Sequence[ReadableSpan]) -> list[Any]:
        """Return the messages of these spans."""
        groups: list[_Group] = []
        others: Sequence[Any] = spans
        with guard("job spans could not be encoded directly"):
            groups, others = self.written(spans)
        made = self.original([*others, *(group.first for group in groups)])
        for group in groups:
            group.add_to(made)
        return made

    def written(self, spans: Sequence[Any]) -> tuple[list[_Group], Sequence[Any]]:
        """Return the spans that are written here, and those that are left to the SDK."""
        if len(spans) < FEWEST:
            return [], spans
        groups: dict[tuple[int, int], _Group] = {}
        others: list[Any] = []
        for span in spans:
            written = self._written(span) if _is_simple(span) else None
            if written is None:
                others.append(span)
                if len(others) > len(spans) - FEWEST:
                    return [], spans
                continue
            key = (id(span._resource), id(span._instrumentation_scope))  # noqa: SLF001
            group = groups.get(key)
            if group is None:
                groups[key] = _Group(span)
            else:
                group.rest.append(written)
        return list(groups.values()), others

    def _written(self, span: Any) -> bytes | None:
        try:
            return self._writer.span(span)
        except Exception:
            return None


_wanted = False
_hooked = False


def install() -> None:
    """Let the SDK's encoder write job spans directly, as soon as it is loaded."""
    global _wanted, _hooked  # noqa: PLW0603
    _wanted = True
    if MODULE in sys.modules:
        _replace(sys.modules[MODULE])
    elif not _hooked:
        _hooked = True
        register_post_import_hook(_replace, MODULE)


def uninstall() -> None:
    """Give the SDK its own function back."""
    global _wanted  # noqa: PLW0603
    _wanted = False
    module: Any = sys.modules.get(MODULE)
    encoder = getattr(module, PART, None)
    if isinstance(encoder, Encoder):
        setattr(module, PART, encoder.original)


def is_installed() -> bool:
    """Tell whether job spans are written directly."""
    return isinstance(getattr(sys.modules.get(MODULE), PART, None), Encoder)


def _replace(module: Any) -> None:
    original = getattr(module, PART, None)
    if original is None or isinstance(original, Encoder) or not _wanted:
        return
    with guard("job spans cannot be encoded directly"):
        encoder = Encoder(original)
        if _same(encoder):
            setattr(module, PART, encoder)


def _same(encoder: Encoder) -> bool:
    """Tell whether spans with everything this module writes come out as the SDK would have written them."""
    spans = list(_samples())
    _, others = encoder.written(spans)
    return not others and encoder(spans) == encoder.original(spans)


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
