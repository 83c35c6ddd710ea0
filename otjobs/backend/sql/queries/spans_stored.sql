-- How many spans are stored, and how old the newest is: is anything arriving?
SELECT count() AS spans, max(fromUnixTimestamp64Nano(toUnixTimestamp64Nano(Timestamp), 'UTC')) AS newest_at,
    if(spans = 0, NULL, (toUnixTimestamp64Nano(now64(9)) - toUnixTimestamp64Nano(newest_at)) / 1e9)
        AS newest_age_seconds
FROM otel_traces
