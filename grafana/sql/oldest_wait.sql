-- How long the longest waiting job waits already.
SELECT maxOrNull((toUnixTimestamp64Nano(now64(9)) - toUnixTimestamp64Nano(waiting_since)) / 1e9) AS oldest_wait
FROM open_jobs
WHERE state = 'waiting' AND {scope}
