-- One number for each queue and job type: how many of those that wait were overtaken for an hour.
SELECT system, queue, job_type, count() AS jobs
FROM open_jobs
WHERE overtaken
GROUP BY system, queue, job_type
