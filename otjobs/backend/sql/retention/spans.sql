-- Spans go a day at a time (UTC), an hour after the day in which the last of them came of age.
ALTER TABLE {database}.otel_traces MODIFY SETTING materialize_ttl_recalculate_only = 1;
ALTER TABLE {database}.otel_traces MODIFY TTL
    toStartOfDay(toDateTime(least(Timestamp, toDateTime64('2069-01-01 00:00:00', 9, 'UTC')), 'UTC'))
        + toIntervalDay({days} + 1) + toIntervalHour(1);
-- This table has no days: its rows go when it is merged.
ALTER TABLE {database}.otel_traces_trace_id_ts MODIFY TTL
    toStartOfDay(least(toDateTime(End, 'UTC'), toDateTime('2069-01-01 00:00:00', 'UTC')))
        + toIntervalDay({days} + 1) + toIntervalHour(1);
