-- Drops an old part of the live table, once its rows are in the shadow.
ALTER TABLE {database}.{table} DROP PART '{part}'
