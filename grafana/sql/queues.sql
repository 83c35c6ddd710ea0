-- The choices of the variable `queue`, given the systems.
SELECT DISTINCT queue FROM jobs
WHERE $__conditionalAll(system IN (${system:singlequote}), $system) AND {recent}
ORDER BY queue
