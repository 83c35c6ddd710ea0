-- Takes away what fills a shadow from ingest. It goes before the shadow, or inserts would fail.
DROP VIEW IF EXISTS {database}.rebuild_{table}_mv SYNC
