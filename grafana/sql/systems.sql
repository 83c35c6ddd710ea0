-- The choices of the variable `system`.
SELECT DISTINCT system FROM jobs WHERE {recent} ORDER BY system
