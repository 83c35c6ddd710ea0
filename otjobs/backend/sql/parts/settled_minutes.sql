minute < now('UTC') - toIntervalHour(1) AND minute NOT IN (SELECT minute FROM {database}.dirty_minutes)
