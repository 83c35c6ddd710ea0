-- What ingest writes to a table while it is rebuilt also goes to the copy.
CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.rebuild_{table}_mv TO {database}.rebuild_{table}
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT * FROM {database}.{table} WHERE {where}
