"""Request bodies of OTLP: decompression within bounds, protobuf and JSON."""

from __future__ import annotations

import base64
import json
import zlib
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from google.protobuf import json_format
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_BODY_BYTES: Final = 64 << 20
ENCODINGS: Final = ("gzip", "deflate", "identity")
BAD_SPAN: Final = "span does not follow the OTLP JSON mapping"
_CHUNK: Final = 1 << 20
_ID_FIELDS: Final = {
    "traceId": 32,
    "spanId": 16,
    "parentSpanId": 16,
    "trace_id": 32,
    "span_id": 16,
    "parent_span_id": 16,
}


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
    # deflate means zlib (RFC 9110 8.4.1.2), but some senders leave its header out
    raw_deflate = encoding == "deflate" and (len(body) < 2 or body[0] & 0x0F != 8 or (body[0] << 8 | body[1]) % 31)
    inflater = zlib.decompressobj(31 if encoding == "gzip" else -15 if raw_deflate else 15)
    out: list[bytes] = []
    size = 0
    try:
        rest = body
        while rest and not inflater.eof:
            piece = inflater.decompress(rest, _CHUNK)
            rest = inflater.unconsumed_tail
            if not piece and not rest:
                break
            size += len(piece)
            if size > limit:
                raise BadRequestError(f"the body is larger than {limit >> 20} MiB", 413)
            grow(len(piece))
            out.append(piece)
    except zlib.error as error:
        raise BadRequestError(f"the body is not valid {encoding}: {error}") from None
    if not inflater.eof:
        raise BadRequestError(f"the {encoding} body ends too early")
    return b"".join(out)


def parse_protobuf(body: bytes) -> ExportTraceServiceRequest:
    """Return the request of a protobuf body.

    Raises:
        BadRequestError: truncated or otherwise not a trace request.
    """
    request = ExportTraceServiceRequest()
    try:
        request.ParseFromString(body)
    except DecodeError as error:
        raise BadRequestError(f"the body is not a valid OTLP trace request: {error}") from None
    return request


def parse_json(body: bytes) -> tuple[ExportTraceServiceRequest, Counter[str]]:
    """Return the request of an OTLP/JSON body, and how many spans had to be left out, by reason.

    Raises:
        BadRequestError: not JSON, or not a trace request.
    """
    rejected: Counter[str] = Counter()
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequestError(f"the body is not valid JSON: {error}") from None
    if not isinstance(document, dict):
        raise BadRequestError("the body is not an OTLP trace request: a JSON object is expected")
    try:
        _fix_ids(document)
        request = ExportTraceServiceRequest()
        json_format.ParseDict(document, request, ignore_unknown_fields=True)
    except (json_format.ParseError, ValueError, TypeError, RecursionError):
        request = _parse_span_by_span(document, rejected)
    return request, rejected


def _parse_span_by_span(document: dict[str, Any], rejected: Counter[str]) -> ExportTraceServiceRequest:
    """Parse what is around the spans strictly and the spans one by one: a bad one must not cost its neighbours."""
    request = ExportTraceServiceRequest()
    try:
        for resource_spans in document.get("resourceSpans") or document.get("resource_spans") or ():
            target = request.resource_spans.add()
            json_format.ParseDict(
                {"resource": resource_spans.get("resource") or {}}, target, ignore_unknown_fields=True
            )
            for scope_spans in resource_spans.get("scopeSpans") or resource_spans.get("scope_spans") or ():
                scope = target.scope_spans.add()
                json_format.ParseDict({"scope": scope_spans.get("scope") or {}}, scope, ignore_unknown_fields=True)
                for span in scope_spans.get("spans") or ():
                    if not isinstance(span, dict):
                        rejected[BAD_SPAN] += 1
                        continue
                    try:
                        scope.spans.append(json_format.ParseDict(span, Span(), ignore_unknown_fields=True))
                    except (json_format.ParseError, ValueError, TypeError, AttributeError, RecursionError):
                        rejected[BAD_SPAN] += 1
    except (json_format.ParseError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise BadRequestError(f"the body is not a valid OTLP trace request: {error}") from None
    return request


def _fix_ids(node: Any) -> None:
    """Ids are hex digits in OTLP/JSON and base64 in protobuf's mapping: rewrite them in place.

    Source: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
    """
    if isinstance(node, list):
        for item in node:
            _fix_ids(item)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key in _ID_FIELDS and isinstance(value, str):
                try:
                    raw = bytes.fromhex(value)
                except ValueError:
                    raw = b"?"  # of a wrong length: this span is rejected with its reason, its neighbours are kept
                node[key] = base64.b64encode(raw).decode()
            elif isinstance(value, dict | list):
                _fix_ids(value)
