-- Which minute marks may be frozen: minutes that are an hour old and that nothing can change any more.
minute < now('UTC') - toIntervalHour(1) AND minute NOT IN (SELECT minute FROM {database}.dirty_minutes)
