-- One block of spans in memory, so that making them is no part of what is measured.
INSERT INTO {database}.block (Timestamp, TraceId, SpanId, ParentSpanId, TraceState, SpanName, SpanKind, ServiceName,
    ResourceAttributes, ScopeName, ScopeVersion, SpanAttributes, Duration, StatusCode, StatusMessage)
{spans}
