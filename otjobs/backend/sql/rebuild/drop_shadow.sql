-- Takes a shadow away.
DROP TABLE IF EXISTS {database}.rebuild_{table} SYNC
