"""OTLP in JSON: ids in hex, older names, texts that are no Unicode, values nested without end, spans one by one."""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from typing import Any, Final

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otjobs.backend.server.mend import TOO_DEEP

BAD_SPAN: Final = "span does not follow the OTLP JSON mapping"
_ID_FIELDS: Final = frozenset({"traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id"})
# Three levels of JSON are two of protobuf, which takes 100.
_MAX_DEPTH: Final = 120
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', re.DOTALL)
_FAULTS: Final = (json_format.ParseError, ValueError, TypeError, AttributeError, OverflowError, RecursionError)
# What may hold spans, by level, under all its names; the first is today's.
_REQUEST: Final = (("resourceSpans", "resource_spans"),)
_RESOURCE: Final = (
    ("scopeSpans", "scope_spans", "instrumentationLibrarySpans", "instrumentation_library_spans"),
    ("resource",),
    ("schemaUrl", "schema_url"),
)
_SCOPE: Final = (
    ("spans",),
    ("scope", "instrumentationLibrary", "instrumentation_library"),
    ("schemaUrl", "schema_url"),
)


class NoRequestError(ValueError):
    """A body that is no trace request; the text says why."""


def parse(body: bytes) -> tuple[ExportTraceServiceRequest, Counter[str]]:
    """Return the request of an OTLP/JSON body, and how many spans had to be left out, by reason.

    Raises:
        NoRequestError: not JSON, not a trace request, or with spans under a name that OTLP does not have.
    """
    rejected: Counter[str] = Counter()
    document = _load(body)
    if not isinstance(document, dict):
        raise NoRequestError("the body is not an OTLP trace request: a JSON object is expected")
    _make_sound(document)
    _renew(document)
    try:
        request = ExportTraceServiceRequest()
        json_format.ParseDict(document, request, ignore_unknown_fields=True)
    except _FAULTS:
        request = _parse_span_by_span(document, rejected)
    return request, rejected


def _load(body: bytes) -> Any:
    try:
        text = body.decode(json.detect_encoding(body), "replace")
        try:
            return json.loads(text)
        except RecursionError:
            return json.loads(_shallow(text))
    except (ValueError, RecursionError) as error:
        raise NoRequestError(f"the body is not valid JSON: {error}") from None


def _shallow(text: str) -> str:
    """Return the text with null for everything that is nested too deeply."""
    out: list[str] = []
    depth = kept = 0
    for token in _TOKEN.finditer(text):
        first = token[0][0]
        if first in "[{":
            depth += 1
            if depth == _MAX_DEPTH:
                out.append(text[kept : token.start()])
        elif first in "]}":
            if depth == _MAX_DEPTH:
                out.append("null")
                kept = token.end()
            depth -= 1
    return "".join([*out, text[kept:]]) if depth < _MAX_DEPTH else "".join(out)


def _make_sound(document: dict[str, Any]) -> None:
    """Rewrite in place: ids from hex to base64, texts to Unicode, and what is nested too deeply to a text that says so.

    Ids are hex digits in OTLP/JSON and base64 in protobuf's mapping.
    Source: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
    """
    waiting: list[tuple[Any, int]] = [(document, 1)]
    while waiting:
        node, depth = waiting.pop()
        if isinstance(node, dict):
            for key in [key for key in node if _SURROGATE.search(key)]:
                node[_unicode(key)] = node.pop(key)
        for key, value in list(node.items() if isinstance(node, dict) else enumerate(node)):
            if isinstance(value, str):
                if key in _ID_FIELDS:
                    node[key] = _base64(value)
                elif _SURROGATE.search(value):
                    node[key] = _unicode(value)
            elif isinstance(value, dict | list):
                if depth < _MAX_DEPTH:
                    waiting.append((value, depth + 1))
                else:
                    node[key] = {"stringValue": TOO_DEEP} if isinstance(value, dict) else []


def _base64(digits: str) -> str:
    try:
        raw = bytes.fromhex(digits)
    except ValueError:
        raw = b"?"  # of a wrong length: this span is rejected with its reason, its neighbours are kept
    return base64.b64encode(raw).decode()


def _unicode(text: str) -> str:
    """Join halves of characters that belong together and replace those that stand alone."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _renew(document: dict[str, Any]) -> None:
    """Give what holds spans the names of today.

    Raises:
        NoRequestError: a field without a meaning in OTLP holds objects: spans would be lost without a word.
    """
    _level(document, _REQUEST, "request")
    for resource in _objects(document.get("resourceSpans")):
        _level(resource, _RESOURCE, "resource")
        for scope in _objects(resource.get("scopeSpans")):
            _level(scope, _SCOPE, "scope")


def _objects(items: Any) -> list[dict[str, Any]]:
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _level(node: dict[str, Any], known: tuple[tuple[str, ...], ...], what: str) -> None:
    names = {name for group in known for name in group}
    for key, value in node.items():
        if key not in names and _objects(value):
            raise NoRequestError(f"OTLP traces know no field {key!r} of a {what}; spans belong into {known[0][0]!r}")
    for group in known:
        given = [node.pop(name) for name in group if name in node]
        if given and all(isinstance(value, list) for value in given):
            node[group[0]] = [item for value in given for item in value]
        elif given:
            node[group[0]] = next((value for value in given if value is not None), None)


def _parse_span_by_span(document: dict[str, Any], rejected: Counter[str]) -> ExportTraceServiceRequest:
    """Parse what is around the spans strictly and the spans one by one: a bad one must not cost its neighbours."""
    request = ExportTraceServiceRequest()
    try:
        for resource_spans in document.get("resourceSpans") or ():
            target = request.resource_spans.add()
            resource = {"resource": resource_spans.get("resource") or {}}
            json_format.ParseDict(resource, target, ignore_unknown_fields=True)
            for scope_spans in resource_spans.get("scopeSpans") or ():
                scope = target.scope_spans.add()
                json_format.ParseDict({"scope": scope_spans.get("scope") or {}}, scope, ignore_unknown_fields=True)
                for span in scope_spans.get("spans") or ():
                    try:
                        if not isinstance(span, dict):
                            raise TypeError(span)
                        scope.spans.append(json_format.ParseDict(span, Span(), ignore_unknown_fields=True))
                    except _FAULTS:
                        rejected[BAD_SPAN] += 1
    except _FAULTS as error:
        raise NoRequestError(f"the body is not a valid OTLP trace request: {error}") from None
    return request
