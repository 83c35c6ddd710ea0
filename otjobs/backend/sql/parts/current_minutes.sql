-- The stored rows of the newest version of each minute but those that the expression {dirty} lists, and these as they
-- are now; without the rows that only say when a minute was computed.
SELECT * EXCEPT computed_at FROM ({include stored_minutes dirty={dirty}})
WHERE NOT (system = '' AND queue = '' AND job_type = '')
UNION ALL
SELECT * FROM ({include minute_figures minutes={dirty}})
WHERE NOT (system = '' AND queue = '' AND job_type = '')
