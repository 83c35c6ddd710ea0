-- Bytes at rest of every table of a database.
SELECT table, sum(bytes_on_disk) AS bytes, sum(rows) AS n FROM system.parts
WHERE active AND database = {database:String} GROUP BY table ORDER BY bytes DESC
