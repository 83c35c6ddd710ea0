-- Jobs that could start now and did not yet.
SELECT countIf(state = 'waiting') AS waiting
FROM jobs
WHERE {recent}
        AND {scope}
