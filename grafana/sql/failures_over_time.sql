-- Attempts that ended badly in each interval, by job type; the types below the ten worst are one series.
WITH events AS (
    {events}
),
worst AS (
    SELECT job_type FROM events
    GROUP BY job_type ORDER BY sum(failed + expired + rejected + lost) DESC, job_type LIMIT 10
)
SELECT $__timeInterval(assumeNotNull(minute)) AS time, if(job_type IN worst, toString(job_type), 'other types') AS type,
    sum(failed + expired + rejected + lost) AS failures
FROM events
GROUP BY time, type
HAVING failures > 0
ORDER BY time, type
