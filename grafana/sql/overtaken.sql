-- Of the jobs that wait, those that their queue passed over for an hour.
SELECT countIf(overtaken) AS overtaken
FROM open_jobs
WHERE {scope}
