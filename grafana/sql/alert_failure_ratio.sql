-- One number for each queue and job type: the part of the attempts ended for good that ended badly. Below ten ends a
-- ratio says nothing, and there is no row.
WITH events AS (
    {events}
)
SELECT system, queue, job_type, sum(failed + expired + rejected + lost)
    / sum(succeeded + failed + expired + cancelled + rejected + lost) AS failure_ratio
FROM events
GROUP BY system, queue, job_type
HAVING sum(succeeded + failed + expired + cancelled + rejected + lost) >= 10
