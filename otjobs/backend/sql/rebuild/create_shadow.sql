-- A copy of a table to fill beside it. No deduplication window: what was removed may be written again.
CREATE TABLE IF NOT EXISTS {database}.rebuild_{table} AS {database}.{table}
