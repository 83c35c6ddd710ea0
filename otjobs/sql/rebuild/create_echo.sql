-- What ingest writes to a table while it is rebuilt also goes to the copy. The view hangs on the table itself, not on the
-- spans: ClickHouse shows an insert in the dependent table first, so whatever a swap takes away the copy has.
CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.rebuild_{table}_echo TO {database}.rebuild_{table}
DEFINER = CURRENT_USER SQL SECURITY DEFINER
AS SELECT * FROM {database}.{table} WHERE {where}
