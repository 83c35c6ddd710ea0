DROP VIEW IF EXISTS {database}.rebuild_{table}_mv SYNC
