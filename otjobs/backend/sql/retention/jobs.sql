-- Jobs go with the day they were enqueued on, an hour after they are no longer shown (see `horizons`).
ALTER TABLE {database}.attempt_states MODIFY SETTING materialize_ttl_recalculate_only = 1;
ALTER TABLE {database}.attempt_states MODIFY TTL
    toStartOfDay(least(hour, toDateTime('2069-01-01 00:00:00', 'UTC'))) + toIntervalDay({days} + 1) + toIntervalHour(1);
-- What jobs of other instrumentations are made of, a day at a time.
ALTER TABLE {database}.foreign_spans MODIFY TTL toDateTime(least(day, toDate('2069-01-01')), 'UTC')
    + toIntervalDay({days} + 1);
