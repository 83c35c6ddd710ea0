-- Jobs that could start now and did not yet, whatever their age.
SELECT countIf(state = 'waiting') AS waiting
FROM open_jobs
WHERE {scope}
