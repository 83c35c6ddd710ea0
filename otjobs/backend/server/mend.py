"""Protobuf trace requests that protobuf itself refuses as a whole: what can be read of them, span by span.

One text that is not UTF-8 (a cut emoji, a file name in another encoding) or one value nested without end makes the
parser refuse the request, and with it all the other spans. Here texts are mended, values that are nested too deeply are
cut, and what still cannot be read costs its own span.
Wire format: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from otjobs.varint import varint

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator
    from typing import Any

    from google.protobuf.descriptor import Descriptor
    from google.protobuf.message import Message

MAX_DEPTH: Final = 40
"""How deep attribute values may be nested; protobuf's own limit is about 50."""

TOO_DEEP: Final = "(nested too deeply)"
BAD_SPAN: Final = "span cannot be decoded"
BAD_RESOURCE: Final = "span of a resource or scope that cannot be decoded"
# Where spans were before OTLP 0.15: the same message but for its name.
LIBRARY_SPANS: Final = 1000

_ANY: Final = AnyValue.DESCRIPTOR
_CUT: Final = AnyValue(string_value=TOO_DEEP).SerializeToString()


class FramingError(ValueError):
    """Lengths that do not fit: what follows cannot be told apart any more."""


def read_span_by_span(body: bytes, rejected: Counter[str]) -> ExportTraceServiceRequest:
    """Return what can be read of a request that protobuf refuses; count the rest.

    Raises:
        FramingError: it cannot be taken apart at all.
    """
    request = ExportTraceServiceRequest()
    for number, kind, value in _fields(memoryview(body)):
        if number == ExportTraceServiceRequest.RESOURCE_SPANS_FIELD_NUMBER and kind == 2:
            _resource(value, request.resource_spans.add(), rejected)
    return request


def _resource(data: memoryview, target: ResourceSpans, rejected: Counter[str]) -> None:
    sound = True
    scopes: list[memoryview] = []
    for number, kind, value in _fields(data):
        if number == ResourceSpans.RESOURCE_FIELD_NUMBER and kind == 2:
            sound = _parse(value, target.resource)
        elif number in {ResourceSpans.SCOPE_SPANS_FIELD_NUMBER, LIBRARY_SPANS} and kind == 2:
            scopes.append(value)
    for scope in scopes:
        _scope(scope, target.scope_spans.add(), rejected, sound=sound)


def _scope(data: memoryview, target: ScopeSpans, rejected: Counter[str], *, sound: bool) -> None:
    spans: list[memoryview] = []
    for number, kind, value in _fields(data):
        if number == ScopeSpans.SCOPE_FIELD_NUMBER and kind == 2:
            sound = _parse(value, target.scope) and sound
        elif number == ScopeSpans.SPANS_FIELD_NUMBER and kind == 2:
            spans.append(value)
    if not sound:
        rejected[BAD_RESOURCE] += len(spans)
        return
    for one in spans:
        span = Span()
        if _parse(one, span):
            target.spans.append(span)
        else:
            rejected[BAD_SPAN] += 1


def _parse(data: memoryview, message: Message) -> bool:
    """Read a message, mended where it has to be; tell whether it could be read."""
    try:
        message.ParseFromString(bytes(data))
    except DecodeError:
        try:
            message.ParseFromString(_mended(data, message.DESCRIPTOR, 0))
        except (DecodeError, FramingError):
            return False
    return True


def _mended(data: memoryview, descriptor: Descriptor, depth: int) -> bytes:
    """Return the message with texts that are UTF-8 and values that are not too deep."""
    known: dict[int, Any] = descriptor.fields_by_number
    deeper = depth + (descriptor is _ANY)
    out: list[bytes] = []
    for number, kind, value in _fields(data):
        field = known.get(number)
        if kind != 2:
            out.append(varint(number << 3 | kind) + bytes(value))
            continue
        piece = bytes(value)
        if field is not None and field.type == FieldDescriptor.TYPE_STRING:
            piece = piece.decode("utf-8", "replace").encode()
        elif field is not None and field.type == FieldDescriptor.TYPE_MESSAGE:
            inner = field.message_type
            piece = _CUT if inner is _ANY and deeper >= MAX_DEPTH else _mended(value, inner, deeper)
        out.append(varint(number << 3 | 2) + varint(len(piece)) + piece)
    return b"".join(out)


def _fields(data: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    """Yield number, wire type and bytes of each field."""
    at, end = 0, len(data)
    while at < end:
        tag, at = _number(data, at)
        number, kind = tag >> 3, tag & 7
        if kind == 2:
            size, at = _number(data, at)
        elif kind == 0:
            size = _number(data, at)[1] - at
        elif kind in {1, 5}:
            size = 8 if kind == 1 else 4
        else:
            raise FramingError(f"wire type {kind}")
        if at + size > end or not number:
            raise FramingError("a field is cut")
        yield number, kind, data[at : at + size]
        at += size


def _number(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 64:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise FramingError("a number is cut")
