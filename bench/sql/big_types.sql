-- Every job type of the big queue over a day.
SELECT job_type, sum(started) AS starts, quantilesTDigestMerge(0.5, 0.9, 0.95, 0.99)(run_state) AS p FROM queue_minutes
WHERE queue = 'big' AND minute >= now() - INTERVAL 1 DAY GROUP BY job_type
