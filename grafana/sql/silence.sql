-- How long ago the newest event of the time range was.
WITH events AS (
    {events}
)
SELECT greatest(0, toUnixTimestamp64Milli(now64(3)) / 1000 - toUnixTimestamp64Milli(toDateTime64(maxOrNull(minute), 3)) / 1000)
    AS silent_seconds
FROM events
