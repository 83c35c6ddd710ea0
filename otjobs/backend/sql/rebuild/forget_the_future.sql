-- Versions and arrivals later than now would never be outdone.
DELETE FROM {database}.minute_rows WHERE computed_at > now64(3, 'UTC') + toIntervalMinute(1);
DELETE FROM {database}.workflow_rows WHERE computed_at > now64(3, 'UTC') + toIntervalMinute(1);
DELETE FROM {database}.minute_marks WHERE arrived > now64(3, 'UTC') + toIntervalMinute(1);
