-- The execute spans of one workflow: a root that dispatched all others. Jobs from number {first} on, of {jobs} in all,
-- from {start} on, of {types} job types.
WITH
    'feedfacefeedfacefeedfacefeedface' AS trace,
    {start:Int64} + i * 1000000 AS enqueued,
    if(i = 0, enqueued + 1000000, enqueued + 5000000 + toInt64(cityHash64(i) % 1000000000)) AS began,
    if(i = 0, {start:Int64} + {jobs:Int64} * 1000000, began + 2000000) AS ended,
    if(i = 0, 'big.root', concat('big.type_', toString(i % {types:Int64}))) AS type,
    map('messaging.system', 'celery', 'messaging.operation.type', 'process', 'messaging.operation.name', 'execute',
        'messaging.destination.name', 'big', 'messaging.message.id', toString(i), 'otjobs.job.type', type,
        'otjobs.job.enqueued_at', toString(enqueued), 'otjobs.job.attempt', '1', 'otjobs.job.outcome', 'success',
        'otjobs.job.dispatched', if(i = 0, toString({jobs:Int64} - 1), '0')) AS base,
    if(i = 0, map('otjobs.trigger', 'manual'), map('otjobs.job.parent.id', '0', 'otjobs.job.parent.type', 'big.root',
        'otjobs.job.parent.attempt', '1', 'otjobs.workflow.type', 'big.root', 'otjobs.workflow.started_at',
        toString({start:Int64}))) AS cause
SELECT fromUnixTimestamp64Nano(began) AS Timestamp, trace AS TraceId, lower(hex(sipHash64(i))) AS SpanId,
    '' AS ParentSpanId, '' AS TraceState,
    concat('execute ', type) AS SpanName, 'Consumer' AS SpanKind, 'big' AS ServiceName,
    map('service.name', 'big') AS ResourceAttributes,
    'otjobs' AS ScopeName, '0.1.0' AS ScopeVersion, mapSort(mapConcat(base, cause)) AS SpanAttributes,
    toUInt64(ended - began) AS Duration,
    'Unset' AS StatusCode, '' AS StatusMessage
FROM (SELECT toInt64(number + {first:UInt64}) AS i FROM numbers({count:UInt64}))
