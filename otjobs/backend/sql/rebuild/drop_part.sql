ALTER TABLE {database}.{table} DROP PART '{part}'
