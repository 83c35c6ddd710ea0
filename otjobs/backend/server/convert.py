"""OTLP trace requests as rows of `otel_traces`, equal to what the collector's ClickHouse exporter stores."""

from __future__ import annotations

from collections import Counter
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from otjobs.backend.server.attribute_text import as_string
from otjobs.backend.server.native import Columns, TextCache, encode_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope, KeyValue
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

KINDS: Final = {0: "Unspecified", 1: "Internal", 2: "Server", 3: "Client", 4: "Producer", 5: "Consumer"}
STATUSES: Final = {0: "Unset", 1: "Ok", 2: "Error"}

BAD_TRACE_ID: Final = "trace id is not 16 bytes or all zero"
BAD_SPAN_ID: Final = "span id is not 8 bytes or all zero"
MAX_ITEMS: Final = 10_000
TOO_MANY: Final = f"span has more than {MAX_ITEMS:,} attributes, events or links"

_NO_TRACE: Final = bytes(16)
_NO_SPAN: Final = bytes(8)
_UINT64: Final = (1 << 64) - 1
# What DateTime64(9) can hold: 1900-01-01 up to the end of signed 64-bit nanoseconds, 2262-04-11. OTLP times are
# unsigned, so only the upper end can be passed.
_LAST_TIME: Final = (1 << 63) - 1
_KEY: Final = attrgetter("key")

_Encoded = tuple[int, bytes, bytes]


def _hex_or_empty(raw: bytes, length: int) -> str:
    return raw.hex() if len(raw) == length and any(raw) else ""


class Converter:
    """Turns requests into batches; keeps a cache of encoded strings between them. Not for two threads at once."""

    def __init__(self) -> None:
        self._text = TextCache()

    def convert(self, request: ExportTraceServiceRequest) -> tuple[Columns, Counter[str]]:
        """Return the rows of a request and how many spans had to be left out, by reason."""
        batch = Columns()
        rejected: Counter[str] = Counter()
        for resource_spans in request.resource_spans:
            attributes = self._attributes(resource_spans.resource.attributes)
            service = self._text(_service_name(resource_spans.resource))
            for scope_spans in resource_spans.scope_spans:
                self._scope(batch, rejected, scope_spans.spans, scope_spans.scope, attributes, service)
        batch.seal()
        return batch, rejected

    def singles(self, request: ExportTraceServiceRequest) -> list[Columns]:
        """Return the rows of a request, each in a batch of its own."""
        made: list[Columns] = []
        for resource_spans in request.resource_spans:
            attributes = self._attributes(resource_spans.resource.attributes)
            service = self._text(_service_name(resource_spans.resource))
            for scope_spans in resource_spans.scope_spans:
                for span in scope_spans.spans:
                    batch = Columns()
                    self._scope(batch, Counter(), [span], scope_spans.scope, attributes, service)
                    made.extend([batch] if batch.rows else [])
        return made

    def _scope(
        self,
        batch: Columns,
        rejected: Counter[str],
        spans: Iterable[Span],
        scope: InstrumentationScope,
        resource: _Encoded,
        service: bytes,
    ) -> None:
        text, column = self._text, batch.text
        scope_name, scope_version = text(scope.name), text(scope.version)
        for span in spans:
            trace_id, span_id = span.trace_id, span.span_id
            if len(trace_id) != 16 or trace_id == _NO_TRACE:
                rejected[BAD_TRACE_ID] += 1
                continue
            if len(span_id) != 8 or span_id == _NO_SPAN:
                rejected[BAD_SPAN_ID] += 1
                continue
            if max(len(span.attributes), len(span.events), len(span.links)) > MAX_ITEMS:
                rejected[TOO_MANY] += 1
                continue
            batch.rows += 1
            start = span.start_time_unix_nano
            batch.times.append(min(start, _LAST_TIME))
            batch.durations.append((span.end_time_unix_nano - start) & _UINT64)
            column["TraceId"].append(encode_text(trace_id.hex()))
            column["SpanId"].append(encode_text(span_id.hex()))
            column["ParentSpanId"].append(encode_text(_hex_or_empty(span.parent_span_id, 8)))
            column["TraceState"].append(text(span.trace_state))
            column["SpanName"].append(text(span.name))
            column["SpanKind"].append(text(KINDS.get(span.kind, "")))
            column["ServiceName"].append(service)
            column["ScopeName"].append(scope_name)
            column["ScopeVersion"].append(scope_version)
            column["StatusCode"].append(text(STATUSES.get(span.status.code, "")))
            column["StatusMessage"].append(text(span.status.message))
            batch.resource_attributes.add(*resource)
            batch.span_attributes.add(*self._attributes(span.attributes))
            self._events(batch, span)
            self._links(batch, span)

    def _events(self, batch: Columns, span: Span) -> None:
        batch.event_counts.append(len(span.events))
        for event in span.events:
            batch.event_times.append(min(event.time_unix_nano, _LAST_TIME))
            batch.text["Events.Name"].append(self._text(event.name))
            batch.event_attributes.add(*self._attributes(event.attributes))

    def _links(self, batch: Columns, span: Span) -> None:
        batch.link_counts.append(len(span.links))
        for link in span.links:
            batch.text["Links.TraceId"].append(encode_text(_hex_or_empty(link.trace_id, 16)))
            batch.text["Links.SpanId"].append(encode_text(_hex_or_empty(link.span_id, 8)))
            batch.text["Links.TraceState"].append(self._text(link.trace_state))
            batch.link_attributes.add(*self._attributes(link.attributes))

    def _attributes(self, pairs: Iterable[KeyValue]) -> _Encoded:
        text = self._text
        keys: list[bytes] = []
        values: list[bytes] = []
        last = None
        for pair in sorted(pairs, key=_KEY):
            key, value = pair.key, pair.value
            encoded = text(value.string_value if value.HasField("string_value") else as_string(value))
            if key == last:  # the same key twice is invalid OTLP; the later value counts
                values[-1] = encoded
                continue
            last = key
            keys.append(text(key))
            values.append(encoded)
        return len(keys), b"".join(keys), b"".join(values)


def _service_name(resource: Resource) -> str:
    for pair in resource.attributes:
        if pair.key == "service.name":
            return as_string(pair.value)
    return ""
