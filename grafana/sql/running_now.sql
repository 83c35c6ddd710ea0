-- Jobs that a worker has in hand.
SELECT countIf(state = 'running') AS running
FROM jobs
WHERE {recent}
        AND {scope}
