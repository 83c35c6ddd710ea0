-- How many events of jobs arrived: always one row.
WITH events AS (
    {events}
)
SELECT sum(dispatched + started + succeeded + failed + retried + expired + cancelled + rejected + lost) AS events
FROM events
