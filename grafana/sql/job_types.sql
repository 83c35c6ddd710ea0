-- The choices of the variable `job_type`, given systems and queues.
SELECT DISTINCT job_type FROM jobs
WHERE $__conditionalAll(system IN (${system:singlequote}), $system)
    AND $__conditionalAll(queue IN (${queue:singlequote}), $queue) AND {recent}
ORDER BY job_type
