-- Jobs that a worker has in hand, whatever their age.
SELECT countIf(state = 'running') AS running
FROM open_jobs
WHERE {scope}
