-- Arrivals, starts and ends of each interval.
WITH events AS (
    {events}
)
SELECT $__timeInterval(assumeNotNull(minute)) AS time, sum(dispatched) AS dispatched, sum(started) AS started,
    sum(succeeded) AS succeeded, sum(failed) AS failed, sum(retried) AS retried, sum(expired) AS expired,
    sum(cancelled) AS cancelled, sum(rejected) AS rejected, sum(lost) AS lost
FROM events
GROUP BY time
{filled}
