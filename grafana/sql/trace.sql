-- The spans of one trace in the columns of the traces panel: times in milliseconds, attributes as key and value.
-- The table of trace times says which days to read. The aliases differ from the columns that the filter needs.
WITH
    ${trace_id:singlequote} AS wanted,
    (SELECT min(Start) FROM otel_traces_trace_id_ts WHERE TraceId = wanted) AS first_second,
    (SELECT max(End) + 1 FROM otel_traces_trace_id_ts WHERE TraceId = wanted) AS last_second,
    m -> arrayMap((k, v) -> CAST(map('key', k, 'value', v), 'Map(String, String)'),
        arrayMap(k -> toString(k), mapKeys(m)), mapValues(m)) AS pairs
SELECT
    TraceId AS traceID,
    SpanId AS spanID,
    ParentSpanId AS parentSpanID,
    ServiceName AS serviceName,
    SpanName AS operationName,
    toUnixTimestamp64Nano(Timestamp) / 1e6 AS startTime,
    Duration / 1e6 AS duration,
    SpanKind AS kind,
    if(StatusCode = 'Error', 2, 0) AS statusCode,
    StatusMessage AS statusMessage,
    TraceState AS traceState,
    ScopeName AS instrumentationLibraryName,
    pairs(SpanAttributes) AS tags,
    pairs(ResourceAttributes) AS serviceTags,
    arrayMap((n, t, a) -> CAST((toString(n), toFloat64(toUnixTimestamp64Milli(t)), pairs(a)),
            'Tuple(name String, timestamp Float64, fields Array(Map(String, String)))'),
        `Events.Name`, `Events.Timestamp`, `Events.Attributes`) AS logs,
    arrayMap((t, s, a) -> CAST((t, s, pairs(a)), 'Tuple(traceID String, spanID String, tags Array(Map(String, String)))'),
        `Links.TraceId`, `Links.SpanId`, `Links.Attributes`) AS references
FROM otel_traces
WHERE TraceId = wanted AND Timestamp >= first_second AND Timestamp <= last_second AND SpanId != ''
LIMIT 1 BY SpanId
