-- How long ago the newest event of the time range was; NULL where it has none, which is no silence of 0 s.
WITH events AS (
    {events}
)
SELECT if(isNull(newest), NULL, greatest(0, toUnixTimestamp64Milli(now64(3)) / 1000 - toUnixTimestamp64Milli(newest) / 1000)) AS silent_seconds
FROM (SELECT toDateTime64(maxOrNull(minute), 3) AS newest FROM events)
