SELECT name, argMax(value, set_at) AS value FROM {database}.otjobs_settings GROUP BY name ORDER BY name
