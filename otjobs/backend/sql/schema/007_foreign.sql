-- Jobs of other instrumentations: stock Celery, TaskIQ's middleware, BullMQ, and plain messaging-convention spans.
-- Their two halves, a publication and its runs, share no enqueue time, so neither knows the key of its job. They are
-- kept span by span, and whenever spans arrive, the traces they belong to are paired anew as a whole, by the run's link
-- or parent, else by message id within the trace, and what that gives becomes rows of `attempt_states`.
-- Why right under duplicates and in any order: a row is one span, and all its columns are maxima of equal values; a
-- pair is made from all spans of a trace; and a row of `attempt_states` whose key turns out to be wrong, as that of a
-- run before its publication arrived, is marked so (`pairing`) by who saw more of the trace, for what is known only
-- grows.

-- What is known of each such span.
-- Engine AggregatingMergeTree; key workflow, span; one partition a day; retention: the layer `jobs`.
CREATE TABLE IF NOT EXISTS {database}.foreign_spans
(
    workflow_id String CODEC(ZSTD(1)),
    span_id String CODEC(ZSTD(1)),
    -- Of a run of several messages at once: the publication this row is about.
    target String CODEC(ZSTD(1)),
    day SimpleAggregateFunction(max, Date),
    -- 1: a publication, 2: a run, 0: a part of the run `span_id` that says how it ended.
    role SimpleAggregateFunction(max, UInt8),
    publication SimpleAggregateFunction(max, String) CODEC(ZSTD(1)),
    parent_span_id SimpleAggregateFunction(max, String) CODEC(ZSTD(1)),
    trace_id SimpleAggregateFunction(max, String) CODEC(ZSTD(1)),
    system SimpleAggregateFunction(max, LowCardinality(String)),
    queue SimpleAggregateFunction(max, LowCardinality(String)),
    job_type SimpleAggregateFunction(max, LowCardinality(String)),
    message_id SimpleAggregateFunction(max, String) CODEC(ZSTD(1)),
    began SimpleAggregateFunction(max, DateTime64(9, 'UTC')) CODEC(Delta(8), ZSTD(1)),
    ended SimpleAggregateFunction(max, DateTime64(9, 'UTC')) CODEC(Delta(8), ZSTD(1)),
    due_at SimpleAggregateFunction(max, DateTime64(9, 'UTC')) CODEC(ZSTD(1)),
    -- The attempt's number as the span tells it; 0: it does not.
    attempt SimpleAggregateFunction(max, UInt16),
    retries SimpleAggregateFunction(max, UInt16),
    max_attempts SimpleAggregateFunction(max, UInt16),
    -- success, failure, retry, rejected, cancelled, or `failed`, which leaves open whether for good; '': not told.
    said SimpleAggregateFunction(max, LowCardinality(String)),
    verdict SimpleAggregateFunction(max, LowCardinality(String)),
    verdict_at SimpleAggregateFunction(max, DateTime64(9, 'UTC')) CODEC(ZSTD(1)),
    error_type SimpleAggregateFunction(max, LowCardinality(String)),
    -- A publication of several messages, one that failed, one that may have asked for a delay.
    batch SimpleAggregateFunction(max, UInt8),
    failed SimpleAggregateFunction(max, UInt8),
    delayed SimpleAggregateFunction(max, UInt8),
    worker SimpleAggregateFunction(max, LowCardinality(String)),
    service SimpleAggregateFunction(max, LowCardinality(String)),
    release SimpleAggregateFunction(max, LowCardinality(String)),
    host SimpleAggregateFunction(max, LowCardinality(String)),
    arrived SimpleAggregateFunction(max, DateTime64(3, 'UTC')),
    -- When its trace was looked at once more.
    looked SimpleAggregateFunction(max, DateTime64(3, 'UTC')),
    INDEX idx_arrived arrived TYPE minmax GRANULARITY 1
)
ENGINE = AggregatingMergeTree
PARTITION BY day
ORDER BY (workflow_id, span_id, target)
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1;

-- What may be such a span goes by here and is kept nowhere: for inserts of nothing but ours, the next view is not even
-- analysed. Engine Null: no key, no retention.
CREATE TABLE IF NOT EXISTS {database}.foreign_candidates AS {database}.otel_traces ENGINE = Null;

CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.foreign_candidates_mv TO {database}.foreign_candidates
DEFINER = {definer} SQL SECURITY DEFINER
AS SELECT Timestamp, TraceId, SpanId, ParentSpanId, SpanKind, ServiceName, ResourceAttributes, ScopeName,
    SpanAttributes, Duration, StatusCode,
    `Events.Name`, `Events.Attributes`, `Links.TraceId`, `Links.SpanId`
FROM {database}.otel_traces
WHERE SpanKind IN ('Producer', 'Consumer', 'Internal') AND SpanAttributes['otjobs.job.type'] = '' AND TraceId != '';

CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.foreign_spans_mv TO {database}.foreign_spans
DEFINER = {definer} SQL SECURITY DEFINER
AS WITH
    {include bounded_text} AS text,
    if(arrayExists(v -> length(v) > 1024, mapValues(SpanAttributes)), mapApply((k, v) -> (k, text(v)), SpanAttributes),
        SpanAttributes) AS a,
    toDateTime64(0, 9, 'UTC') AS never,
    -- Instrumentations of RabbitMQ clients whose `receive` span is open while the handler runs.
    -- (pika's tracer has the name of a module inside its package.)
    operation = 'receive' AND (startsWith(ScopeName, 'opentelemetry.instrumentation.aio_pika')
        OR (startsWith(ScopeName, 'opentelemetry.instrumentation.pika') AND a['net.peer.name'] != '')) AS handles,
    -- A RabbitMQ client that publishes through an exchange knows no queue: aio-pika says `exchange,key`, FastStream has
    -- the key beside an empty name. The default exchange has no name, and its key is the queue.
    if(startsWith(ScopeName, 'opentelemetry.instrumentation.aio_pika') AND startsWith(destination, ','),
        substring(destination, 2), destination) AS chosen,
    coalesce(nullIf(a['messaging.destination.name'], ''), a['messaging.destination']) AS destination,
    least(greatest(toUnixTimestamp64Nano(Timestamp), toInt64(86400000000000)), toInt64(4291747200000000000))
        AS start_ns,
    start_ns + if(Duration > 315360000000000000, 0, toInt64(Duration)) AS end_ns,
    fromUnixTimestamp64Nano(start_ns, 'UTC') AS span_start,
    fromUnixTimestamp64Nano(end_ns, 'UTC') AS span_end,
    -- The publication a run came from, as trace and span.
    multiIf(its_role != 2, [(TraceId, '')], empty(Links.SpanId), [(TraceId, ParentSpanId)],
        arrayZip(Links.TraceId, Links.SpanId)) AS sources,
    arrayJoin(sources) AS source,
    a['celery.state'] AS celery_state,
    text(arrayFirst(x -> x != '', arrayMap(e -> e['exception.type'], Events.Attributes))) AS exception_type
SELECT
    if(source.1 != '', source.1, TraceId) AS workflow_id,
    if(its_role = 0, ParentSpanId, SpanId) AS span_id,
    if(length(sources) > 1, source.2, '') AS target,
    toDate(max(span_start)) AS day,
    max(its_role) AS role,
    max(multiIf(its_role = 1, SpanId, its_role = 2, source.2, '')) AS publication,
    max(if(its_role = 1, ParentSpanId, '')) AS parent_span_id,
    max(if(source.1 = '' OR source.1 = TraceId, '', TraceId)) AS trace_id,
    max(if(library != '', library, a['messaging.system'])) AS system,
    max(coalesce(nullIf(a['bullmq.queue.name'], ''), nullIf(chosen, ''),
        a['messaging.rabbitmq.destination.routing_key'])) AS queue,
    max(multiIf(library = 'celery', a['celery.task_name'], library = 'taskiq', a['taskiq.task_name'],
        library = 'bullmq', a['bullmq.job.name'], '')) AS job_type,
    max(multiIf(length(sources) > 1, '', library = 'bullmq', a['bullmq.job.id'], a['messaging.message.id'] != '',
        a['messaging.message.id'], a['messaging.message_id'])) AS message_id,
    max(if(its_role = 0, never, span_start)) AS began,
    max(if(its_role = 0, never, span_end)) AS ended,
    max(if(a['celery.eta'] = '', never, parseDateTime64BestEffortOrZero(a['celery.eta'], 9, 'UTC'))) AS due_at,
    max(toUInt16(multiIf(
        library = 'celery' AND its_role = 2, toUInt16OrZero(a['celery.retries']) + 1,
        library = 'taskiq' AND its_role = 1, toUInt16OrZero(a['taskiq._retries']) + 1,
        library = 'bullmq' AND its_role = 2, toUInt16OrZero(a['bullmq.job.attempts.made']),
        library = '' AND its_role = 2, greatest(toUInt16OrZero(a['messaging.servicebus.message.delivery_count']),
            toUInt16OrZero(a['messaging.gcp_pubsub.message.delivery_attempt'])), 0))) AS attempt,
    max(toUInt16OrZero(a['taskiq._retries'])) AS retries,
    max(toUInt16OrZero(a['taskiq.max_retries'])) AS max_attempts,
    max(multiIf(
        its_role != 2, '',
        library = 'celery', multiIf(celery_state IN ('SUCCESS', 'IGNORED'), 'success', celery_state = 'RETRY', 'retry',
            celery_state = 'REJECTED', 'rejected', celery_state = 'REVOKED', 'cancelled',
            celery_state = 'FAILURE' OR StatusCode = 'Error', 'failure', ''),
        StatusCode = 'Error', 'failure',
        library = 'taskiq', if(mapContains(a, 'taskiq.retry.reason'), 'failed', 'success'),
        library = 'bullmq', multiIf(has(Events.Name, 'job completed'), 'success',
            has(Events.Name, 'job failed'), 'failed', ''),
        'success')) AS said,
    max(if(its_role = 0, a['bullmq.queue.operation'], '')) AS verdict,
    max(if(its_role = 0, span_end, never)) AS verdict_at,
    max(multiIf(its_role = 0, '', a['error.type'] != '', a['error.type'], exception_type != '', exception_type,
        extract(a['celery.retry.reason'], '^Retry (?:in|at) .*?: ([A-Za-z_][A-Za-z0-9_.]*)\\('))) AS error_type,
    max(its_role = 1 AND (a['messaging.batch.message_count'] != '' OR notEmpty(Links.SpanId)
        OR (library = 'bullmq' AND a['bullmq.job.id'] = ''))) AS batch,
    max(its_role = 1 AND StatusCode = 'Error') AS failed,
    max(a['taskiq.delay'] != '') AS delayed,
    max(if(its_role != 2, '', if(a['bullmq.worker.name'] != '', a['bullmq.worker.name'], a['bullmq.worker.id'])))
        AS worker,
    max(if(its_role = 0, '', text(toString(ServiceName)))) AS service,
    max(if(its_role = 0, '', text(ResourceAttributes['service.version']))) AS release,
    max(if(its_role = 0, '', text(ResourceAttributes['host.name']))) AS host,
    now64(3, 'UTC') AS arrived
FROM
(
    SELECT *,
        multiIf(SpanKind = 'Producer', 1, SpanKind = 'Consumer', 2, 0) AS its_role,
        multiIf(SpanAttributes['celery.action'] != '', 'celery', SpanAttributes['taskiq.action'] != '', 'taskiq',
            SpanAttributes['bullmq.queue.operation'] != '', 'bullmq', '') AS library,
        coalesce(nullIf(SpanAttributes['messaging.operation.type'], ''),
            nullIf(SpanAttributes['messaging.operation'], ''),
            SpanAttributes['messaging.operation.name']) AS operation
    FROM {database}.foreign_candidates
)
WHERE ((SpanKind = 'Internal' AND a['bullmq.queue.operation'] IN ('complete', 'fail', 'retry', 'delay')
    AND ParentSpanId != '')
        -- Each tick of a BullMQ job scheduler has an `add` of its own, in a trace of its own, and all their runs lie in
        -- the trace of the first: a tick is known by its run.
        OR (SpanKind = 'Producer' AND a['bullmq.job.scheduler.id'] = ''
            AND (library != '' OR (a['messaging.system'] != '' AND operation IN ('send', 'publish', 'create', ''))))
        OR (SpanKind = 'Consumer' AND (library != '' OR (a['messaging.system'] != ''
            AND (operation IN ('process', 'deliver') OR handles)))))
GROUP BY workflow_id, span_id, target;

-- What is stored of the traces that spans arrive for; in a view, because in a materialized view on the table its name
-- means what arrives.
CREATE OR REPLACE VIEW {database}.stored_foreign_spans
DEFINER = {definer} SQL SECURITY DEFINER
AS SELECT * FROM {database}.foreign_spans;

-- A trace of very many spans is not paired anew for a few more: they wait for the next look at it.
-- The settings: both optimizations find nothing here, and take two thirds of the time that the analysis of the query
-- takes.
CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.foreign_attempts_mv TO {database}.attempt_states
DEFINER = {definer} SQL SECURITY DEFINER
AS WITH
    arrivals AS
    (
        SELECT * FROM {database}.foreign_spans WHERE workflow_id NOT IN
        (
            SELECT workflow_id FROM
            (
                SELECT workflow_id, looked, 0 AS is_stored FROM {database}.foreign_spans
                UNION ALL
                SELECT workflow_id, toDateTime64(0, 3, 'UTC'), 1 FROM {database}.stored_foreign_spans
                WHERE workflow_id IN (SELECT workflow_id FROM {database}.foreign_spans)
            )
            GROUP BY workflow_id
            HAVING sum(is_stored) > 50000 AND sum(is_stored) > 3 * sum(1 - is_stored)
                AND max(looked) = toDateTime64(0, 3, 'UTC')
        )
    )
SELECT pairs.*
FROM (SELECT 1 FROM {database}.foreign_spans LIMIT 1) AS arrival
CROSS JOIN ({include foreign_pairs fresh=arrivals}) AS pairs
SETTINGS optimize_and_compare_chain = 0, optimize_aggregators_of_group_by_keys = 0;

-- Two inserts at one moment do not see each other: once nothing has arrived for a trace for half a minute, it is looked
-- at once more; while something does, each minute. A look is a row that says nothing new of one of the trace's spans.
CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.foreign_attempts_again
REFRESH EVERY 30 SECOND APPEND TO {database}.foreign_spans
DEFINER = {definer} SQL SECURITY DEFINER
AS SELECT workflow_id, one.1 AS span_id, one.2 AS target, one.3 AS day, last AS arrived, now64(3, 'UTC') AS looked
FROM
(
    SELECT workflow_id, max(f.arrived) AS last, argMax((span_id, target, f.day), f.arrived) AS one
    FROM {database}.foreign_spans AS f
    WHERE f.arrived >= now64(3, 'UTC') - toIntervalSecond(600)
    GROUP BY workflow_id
    HAVING max(f.looked) < last + toIntervalSecond(30)
        AND (last < now64(3, 'UTC') - toIntervalSecond(30) OR greatest(max(f.looked), min(f.arrived))
            < now64(3, 'UTC') - toIntervalSecond(60))
)
SETTINGS max_insert_threads = 1, max_threads = 1, max_block_size = 8192, min_insert_block_size_rows = 8192;

-- A publication that failed makes no job, unless a run of it turns up; it is counted as such.
CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.foreign_dispatch_failures_mv TO {database}.dispatch_failures
DEFINER = {definer} SQL SECURITY DEFINER
AS SELECT toStartOfMinute(toDateTime(began, 'UTC')) AS minute, system, queue, job_type,
    workflow_id AS trace_id, span_id, error_type
FROM {database}.foreign_spans
WHERE role = 1 AND failed;

-- What was stored before there were these tables.
-- backfill foreign_candidates_mv
