"""The landing table's columns: those that the collector's ClickHouse exporter sends, in its order."""

from __future__ import annotations

from typing import Final

TYPES: Final = {
    "Timestamp": "DateTime64(9)",
    "TraceId": "String",
    "SpanId": "String",
    "ParentSpanId": "String",
    "TraceState": "String",
    "SpanName": "String",
    "SpanKind": "String",
    "ServiceName": "String",
    "ResourceAttributes": "Map(String, String)",
    "ScopeName": "String",
    "ScopeVersion": "String",
    "SpanAttributes": "Map(String, String)",
    "Duration": "UInt64",
    "StatusCode": "String",
    "StatusMessage": "String",
    "Events.Timestamp": "Array(DateTime64(9))",
    "Events.Name": "Array(String)",
    "Events.Attributes": "Array(Map(String, String))",
    "Links.TraceId": "Array(String)",
    "Links.SpanId": "Array(String)",
    "Links.TraceState": "Array(String)",
    "Links.Attributes": "Array(Map(String, String))",
}
"""The type of each column as it is sent; the table's own may be narrower (`sql/schema/001_landing.sql`)."""

COLUMNS: Final = tuple(TYPES)
