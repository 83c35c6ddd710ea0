-- What is gone stays gone when more is kept from now on.
INSERT INTO {database}.otjobs_settings (name, value)
SELECT kind || '_lost_before' AS name, toString(toUnixTimestamp(if(kind = 'jobs', jobs_taken_from, spans_kept_from)))
    AS value
FROM {database}.horizons ARRAY JOIN ['jobs', 'spans'] AS kind
