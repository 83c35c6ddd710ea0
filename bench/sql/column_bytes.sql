-- Compressed bytes of every column of a database.
SELECT table, name, data_compressed_bytes AS bytes FROM system.columns
WHERE database = {database:String} AND data_compressed_bytes > 0 ORDER BY bytes DESC LIMIT 25
