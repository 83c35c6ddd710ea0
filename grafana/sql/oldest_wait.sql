-- How long the longest waiting job waits already.
SELECT maxOrNull((toUnixTimestamp64Nano(now64(9)) - toUnixTimestamp64Nano(ready_at)) / 1e9) AS oldest_wait
FROM jobs
WHERE state = 'waiting' AND {recent}
        AND {scope}
