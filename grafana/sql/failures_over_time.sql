-- Attempts that ended badly in each interval, by job type; the types below the ten worst are one series.
WITH events AS (
    {events}
)
SELECT time, if(place <= 10, toString(job_type), 'other types') AS type, sum(bad) AS failures
FROM (
    SELECT time, job_type, bad, dense_rank() OVER (ORDER BY of_type DESC, job_type) AS place
    FROM (
        SELECT $__timeInterval(assumeNotNull(minute)) AS time, job_type, sum(failed + expired + rejected + lost) AS bad,
            sum(bad) OVER (PARTITION BY job_type) AS of_type
        FROM events
        GROUP BY time, job_type
        HAVING bad > 0
    )
)
GROUP BY time, type
ORDER BY time, type
