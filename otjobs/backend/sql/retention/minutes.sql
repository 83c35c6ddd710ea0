-- Minutes go a month at a time. Their marks stay as long: they say which minutes are frozen.
ALTER TABLE {database}.minute_rows MODIFY SETTING materialize_ttl_recalculate_only = 1;
ALTER TABLE {database}.minute_rows MODIFY TTL least(minute, toDateTime('2069-01-01 00:00:00', 'UTC'))
    + toIntervalDay({days} + 1);
ALTER TABLE {database}.minute_marks MODIFY SETTING materialize_ttl_recalculate_only = 1;
ALTER TABLE {database}.minute_marks MODIFY TTL least(minute, toDateTime('2069-01-01 00:00:00', 'UTC'))
    + toIntervalDay({days} + 1);
ALTER TABLE {database}.dispatch_failures MODIFY SETTING materialize_ttl_recalculate_only = 1;
ALTER TABLE {database}.dispatch_failures MODIFY TTL least(minute, toDateTime('2069-01-01 00:00:00', 'UTC'))
    + toIntervalDay({days} + 1);
ALTER TABLE {database}.arrival_minutes MODIFY SETTING materialize_ttl_recalculate_only = 1;
ALTER TABLE {database}.arrival_minutes MODIFY TTL least(minute, toDateTime('2069-01-01 00:00:00', 'UTC'))
    + toIntervalDay({days} + 1);
