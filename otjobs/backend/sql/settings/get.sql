-- All settings of the database; of each name the newest value. Doubles of a row change nothing.
SELECT name, argMax(value, set_at) AS value FROM {database}.otjobs_settings GROUP BY name ORDER BY name
