-- The spans of a shop over some days: {count} workflows from number {first} on, of {workflows} spread evenly over
-- {length} nanoseconds from {start}. An order dispatches a charge, a mail and a shipment; one charge in twenty is
-- retried, one mail in 97 fails, a shipment in 50 runs long enough for a beacon. What ends after {until} has not been
-- sent yet: so some jobs are open.
WITH
    lower(hex(sipHash128(w, 1))) AS trace,
    j -> lower(hex(sipHash128(w, 2, j))) AS digits,
    j -> concat(substring(digits(j), 1, 8), '-', substring(digits(j), 9, 4), '-4', substring(digits(j), 14, 3), '-a',
        substring(digits(j), 18, 3), '-', substring(digits(j), 21, 12)) AS uuid,
    (j, k) -> lower(hex(sipHash64(w, 3, j, k))) AS span_id,
    {start:Int64} + toInt64(w * ({length:Int64} / {workflows:Int64})) + toInt64(cityHash64(w, 'a') % 1000000000)
        AS root_enqueued,
    root_enqueued + 5000000 + toInt64(cityHash64(w, 'b') % 2000000000) AS root_start,
    root_start + 30000000 + toInt64(cityHash64(w, 'c') % 50000000) AS root_end,
    if(j = 0, root_enqueued, root_start + j * 6000000 + toInt64(cityHash64(w, j, 'd') % 3000000)) AS enqueued,
    ['shop.order', 'shop.charge', 'shop.mail', 'shop.ship'][j + 1] AS type,
    ['orders', 'payments', 'mails', 'ships'][j + 1] AS queue,
    j = 1 AND w % 20 = 0 AS retries,
    j = 2 AND w % 97 = 5 AS fails,
    j = 3 AND w % 50 = 7 AS long,
    if(j = 0, root_start, enqueued + 3000000 + toInt64(pow(10, 6 + (cityHash64(w, j, 'e') % 3500) / 1000))) AS start_1,
    if(j = 0, root_end, start_1 + if(long, 90000000000, 2000000)
        + toInt64(pow(10, 6 + (cityHash64(w, j, 'f') % 3000) / 1000))) AS end_1,
    end_1 - 1000000 AS published_2,
    published_2 + 2000000000 AS due_2,
    due_2 + 3000000 + toInt64(cityHash64(w, j, 'g') % 500000000) AS start_2,
    start_2 + 50000000 + toInt64(cityHash64(w, j, 'h') % 500000000) AS end_2,
    multiIf(k = 0, enqueued, k = 2, start_2, start_1) AS began,
    multiIf(k = 0, enqueued + 1000000 + toInt64(cityHash64(w, j, 'i') % 1000000), k = 1, end_1, k = 2, end_2,
        start_1 + 61000000000) AS ended,
    concat('host', toString(cityHash64(w, j, k != 0) % 4)) AS host,
    if(k = 0 AND j = 0, 'web', 'worker') AS service,
    -- Two releases: the second from the last quarter of the time on.
    if(w * 4 < {workflows:Int64} * 3, '1.2.3', '1.3.0') AS release,
    ['dispatch', 'execute', 'execute', 'start'][k + 1] AS operation,
    map('messaging.system', 'celery', 'messaging.operation.type', ['send', 'process', 'process', 'receive'][k + 1],
        'messaging.operation.name', operation, 'messaging.destination.name', queue, 'messaging.message.id', uuid(j),
        'otjobs.job.type', type, 'otjobs.job.enqueued_at', toString(enqueued), 'otjobs.job.max_attempts', '4') AS base,
    if(j = 0,
        map('otjobs.trigger', 'request', 'otjobs.trigger.name', '/checkout'),
        map('otjobs.job.parent.id', uuid(0), 'otjobs.job.parent.type', 'shop.order', 'otjobs.job.parent.attempt', '1',
            'otjobs.workflow.type', 'shop.order', 'otjobs.workflow.started_at', toString(root_enqueued))) AS cause,
    if(k = 0, map(), map('otjobs.job.attempt', if(k = 2, '2', '1'), 'otjobs.worker',
        concat('worker', toString(cityHash64(w, j) % 4), '@', host),
        'otjobs.job.received_at', toString(began - 1500000), 'otjobs.job.producer', if(j = 0, 'web', 'worker')))
            AS worker,
    if(k IN (1, 2), map('otjobs.job.outcome', multiIf(retries AND k = 1, 'retry', fails, 'failure', 'success'),
        'otjobs.job.dispatched', if(j = 0, '3', '0'), 'otjobs.job.cpu_seconds', toString((ended - began) / 2e9)), map())
            AS run,
    multiIf(k = 2, map('otjobs.job.published_at', toString(published_2), 'otjobs.job.due_at', toString(due_2)),
        k = 3, map('otjobs.beacon.interval_seconds', '30'), map()) AS more,
    if((retries AND k = 1) OR (fails AND k = 1), map('error.type', if(fails, 'CardRefused', 'GatewayTimeout')), map())
        AS error
SELECT
    fromUnixTimestamp64Nano(began) AS Timestamp,
    trace AS TraceId,
    span_id(j, k) AS SpanId,
    multiIf(k = 3, span_id(j, 1), k > 0, span_id(j, 0), j > 0, span_id(0, 1), '') AS ParentSpanId,
    '' AS TraceState,
    concat(operation, ' ', type) AS SpanName,
    ['Producer', 'Consumer', 'Consumer', 'Client'][k + 1] AS SpanKind,
    service AS ServiceName,
    map('service.name', service, 'service.version', release, 'host.name', host, 'telemetry.sdk.language', 'python',
        'telemetry.sdk.name', 'opentelemetry', 'telemetry.sdk.version', '1.45.2') AS ResourceAttributes,
    'otjobs' AS ScopeName,
    '0.1.0' AS ScopeVersion,
    mapSort(mapConcat(base, cause, worker, run, more, error)) AS SpanAttributes,
    toUInt64(ended - began) AS Duration,
    if(fails AND k = 1, 'Error', 'Unset') AS StatusCode,
    '' AS StatusMessage
FROM (SELECT toInt64(number + {first:UInt64}) AS w FROM numbers({count:UInt64}))
ARRAY JOIN [0, 1, 2, 3] AS j
ARRAY JOIN [0, 1, 2, 3] AS k
WHERE (k < 2 OR (k = 2 AND retries) OR (k = 3 AND long)) AND ended <= {until:Int64}
