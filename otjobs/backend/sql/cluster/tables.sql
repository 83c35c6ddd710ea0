-- The database over all shards. Every shard is a whole database of its own ({local}); all spans of a workflow go to one
-- shard, so what is figured out there about jobs and workflows is right as it is, and here it only comes together.

-- Spans are divided here. Not replaced: it may hold what was inserted without waiting for the shards.
CREATE TABLE IF NOT EXISTS {database}.otel_traces AS {local}.otel_traces
ENGINE = Distributed('{cluster}', '{local}', 'otel_traces',
    cityHash64(if(SpanAttributes['otjobs.workflow.id'] != '', SpanAttributes['otjobs.workflow.id'], TraceId)));

-- The same key, so that ClickHouse may skip the other shards (optimize_skip_unused_shards) where an id is given.
CREATE OR REPLACE TABLE {database}.attempts AS {local}.attempts
ENGINE = Distributed('{cluster}', '{local}', 'attempts', cityHash64(workflow_id));
CREATE OR REPLACE TABLE {database}.jobs AS {local}.jobs
ENGINE = Distributed('{cluster}', '{local}', 'jobs', cityHash64(workflow_id));
CREATE OR REPLACE TABLE {database}.open_jobs AS {local}.open_jobs
ENGINE = Distributed('{cluster}', '{local}', 'open_jobs', cityHash64(workflow_id));
CREATE OR REPLACE TABLE {database}.workflows AS {local}.workflows
ENGINE = Distributed('{cluster}', '{local}', 'workflows', cityHash64(workflow_id));

-- A trace may be on several shards, if its jobs name a workflow: read it grouped by trace, as its table is.
CREATE OR REPLACE TABLE {database}.otel_traces_trace_id_ts AS {local}.otel_traces_trace_id_ts
ENGINE = Distributed('{cluster}', '{local}', 'otel_traces_trace_id_ts');
-- A minute is made of the parts of every shard.
CREATE OR REPLACE TABLE {database}.minute_parts AS {local}.minute_parts
ENGINE = Distributed('{cluster}', '{local}', 'minute_parts');
CREATE OR REPLACE TABLE {database}.current_minutes AS {local}.current_minutes
ENGINE = Distributed('{cluster}', '{local}', 'current_minutes');
CREATE OR REPLACE TABLE {database}.arrival_minutes AS {local}.arrival_minutes
ENGINE = Distributed('{cluster}', '{local}', 'arrival_minutes');

-- Made from these by the same text as on one server (`-- view NAME`: the newest definition in the migrations).
-- view queue_minutes
-- view workflow_minutes
-- view job_edges
-- view job_types
-- view pipeline_health
-- view clock_skew
-- view last_arrival

-- What this host was told.
CREATE OR REPLACE VIEW {database}.otjobs_migrations
DEFINER = {definer} SQL SECURITY DEFINER
AS SELECT * FROM {local}.otjobs_migrations;
CREATE OR REPLACE VIEW {database}.otjobs_settings
DEFINER = {definer} SQL SECURITY DEFINER
AS SELECT * FROM {local}.otjobs_settings;
CREATE OR REPLACE VIEW {database}.horizons
DEFINER = {definer} SQL SECURITY DEFINER
AS SELECT * FROM {local}.horizons;
