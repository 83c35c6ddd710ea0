"""Request bodies of OTLP: decompression within bounds, protobuf and JSON."""

from __future__ import annotations

import zlib
from collections import Counter
from typing import TYPE_CHECKING, Final

from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans

from otjobs.backend.server import otlp_json
from otjobs.backend.server.mend import BAD_SPAN, LIBRARY_SPANS, FramingError, read_span_by_span
from otjobs.varint import varint

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_BODY_BYTES: Final = 16 << 20
ENCODINGS: Final = ("gzip", "deflate", "identity")
_CHUNK: Final = 1 << 20
# The tag of that field.
_LIBRARY_SPANS: Final = varint(LIBRARY_SPANS << 3 | 2)


class BadRequestError(Exception):
    """A request that will never be accepted; `status` is the HTTP status that says so."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


def check_encoding(name: str) -> str:
    """Return the content encoding in its plain form.

    Raises:
        BadRequestError: an encoding that is not supported (415).
    """
    encoding = name.strip().lower() or "identity"
    if encoding not in ENCODINGS:
        raise BadRequestError(f"content encoding {name!r} is not supported; send {', '.join(ENCODINGS)}", 415)
    return encoding


def decompress(body: bytes, encoding: str, *, limit: int = MAX_BODY_BYTES, grow: Callable[[int], None]) -> bytes:
    """Return the plain body.

    Args:
        body: as received.
        encoding: gzip, deflate or identity.
        limit: largest plain body in bytes.
        grow: called with each further number of bytes before it is kept; may raise to refuse.

    Raises:
        BadRequestError: broken data (400) or too large (413).
    """
    if encoding == "identity":
        return body
    out: list[bytes] = []
    size = 0
    rest = body
    try:
        while rest:  # a gzip body may have several members; each is a part of the whole
            inflater = zlib.decompressobj(_window_bits(rest, encoding))
            while not inflater.eof:
                piece = inflater.decompress(rest, _CHUNK)
                rest = inflater.unconsumed_tail
                if not piece and not rest and not inflater.eof:
                    raise BadRequestError(f"the {encoding} body ends too early")
                size += len(piece)
                if size > limit:
                    raise BadRequestError(f"the body is larger than {limit >> 20} MiB", 413)
                grow(len(piece))
                out.append(piece)
            rest = inflater.unused_data
    except zlib.error as error:
        raise BadRequestError(f"the body is not valid {encoding}: {error}") from None
    return b"".join(out)


def _window_bits(body: bytes, encoding: str) -> int:
    if encoding == "gzip":
        return 31
    # deflate means zlib (RFC 9110 8.4.1.2), but some senders leave its header out
    has_header = len(body) >= 2 and body[0] & 0x0F == 8 and (body[0] << 8 | body[1]) % 31 == 0
    return 15 if has_header else -15


def parse_protobuf(body: bytes) -> tuple[ExportTraceServiceRequest, Counter[str]]:
    """Return the request of a protobuf body, and how many spans had to be left out, by reason.

    Raises:
        BadRequestError: truncated or otherwise not a trace request.
    """
    rejected: Counter[str] = Counter()
    request = ExportTraceServiceRequest()
    try:
        request.ParseFromString(body)
    except DecodeError as error:
        try:
            return read_span_by_span(body, rejected), rejected
        except FramingError:
            raise BadRequestError(f"the body is not a valid OTLP trace request: {error}") from None
    if _LIBRARY_SPANS in body:
        _read_library_spans(request, rejected)
    return request, rejected


def _read_library_spans(request: ExportTraceServiceRequest, rejected: Counter[str]) -> None:
    """Take in what stands under the name that spans had before OTLP 0.15, which protobuf passes over."""
    for resource_spans in request.resource_spans:
        for field in UnknownFieldSet(resource_spans):
            if field.field_number != LIBRARY_SPANS:
                continue
            try:
                resource_spans.scope_spans.append(ScopeSpans.FromString(field.data))
            except (DecodeError, TypeError):
                rejected[BAD_SPAN] += 1


def parse_json(body: bytes) -> tuple[ExportTraceServiceRequest, Counter[str]]:
    """Return the request of an OTLP/JSON body, and how many spans had to be left out, by reason.

    Raises:
        BadRequestError: not JSON, or not a trace request.
    """
    try:
        return otlp_json.parse(body)
    except otlp_json.NoRequestError as error:
        raise BadRequestError(str(error)) from None
