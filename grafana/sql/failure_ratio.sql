-- Of the attempts that ended in the time range for good, the part that ended badly.
WITH events AS (
    {events}
)
SELECT sum(failed + expired + rejected + lost) / nullIf(sum(succeeded + failed + expired + cancelled + rejected + lost), 0)
    AS failure_ratio
FROM events
