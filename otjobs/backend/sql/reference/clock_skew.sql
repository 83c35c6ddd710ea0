-- One row per minute and pair of hosts whose clocks disagree: jobs that started before they were ready.
-- A skew smaller than the wait is not seen.
SELECT
    minute, -- minute of the start, UTC
    producer_host, -- host that dispatched; '' when unknown
    host, -- host that ran it
    negative_waits, -- how many such starts
    max_seconds -- the largest of them
FROM clock_skew
