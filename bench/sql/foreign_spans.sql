-- Spans of the stock Celery instrumentation: {count} workflows from number {first} on, a root job and {children}
-- children each, the children from number {child} to {until}; from {start} nanoseconds on. A child in twenty is
-- retried.
WITH
    lower(hex(sipHash128(w, 1))) AS trace,
    (j, k) -> lower(hex(sipHash64(w, 3, j, k))) AS span_id,
    k IN (0, 2) AS is_publication,
    {start:Int64} + w * 1000000 AS root_began,
    root_began + if(j = 0, 0, 6000000 + (j % 1000000) * 1000) + k * 5000000 AS began,
    if(j = 0, 'orders', 'mails') AS queue,
    concat('shop.', queue) AS task,
    j > 0 AND j % 20 = 0 AS retries
SELECT
    fromUnixTimestamp64Nano(began) AS Timestamp,
    trace AS TraceId,
    span_id(j, k) AS SpanId,
    multiIf(k > 0, span_id(j, k - 1), j > 0, span_id(0, 1), '') AS ParentSpanId,
    '' AS TraceState,
    concat(if(is_publication, 'apply_async/', 'run/'), task) AS SpanName,
    if(is_publication, 'Producer', 'Consumer') AS SpanKind,
    if(j = 0 AND k = 0, 'web', 'worker') AS ServiceName,
    map('service.name', if(j = 0 AND k = 0, 'web', 'worker'), 'service.version', '1.2.3', 'telemetry.sdk.language',
        'python') AS ResourceAttributes,
    'opentelemetry.instrumentation.celery' AS ScopeName,
    '0.66b2' AS ScopeVersion,
    mapSort(mapConcat(
        map('celery.task_name', task, 'messaging.message.id', lower(hex(sipHash128(w, 2, j))),
            'messaging.destination', queue),
        if(is_publication, map('celery.action', 'apply_async', 'messaging.destination_kind', 'queue'),
            map('celery.action', 'run', 'celery.state', if(retries AND k = 1, 'RETRY', 'SUCCESS'),
                'celery.hostname', 'gen1@host',
                'messaging.conversation_id', lower(hex(sipHash128(w, 2, j))), 'celery.reply_to',
                lower(hex(sipHash128(w, 4))))),
        if(k = 3, map('celery.retries', '1'), map()))) AS SpanAttributes,
    toUInt64(if(is_publication, 1000000, 4000000)) AS Duration,
    'Unset' AS StatusCode,
    '' AS StatusMessage
FROM (SELECT toInt64(number + {first:UInt64}) AS w FROM numbers({count:UInt64}))
ARRAY JOIN arrayFilter(x -> x <= {children:UInt64}, range({child:UInt64}, {until:UInt64})) AS j
ARRAY JOIN [0, 1, 2, 3] AS k
WHERE k < 2 OR retries
