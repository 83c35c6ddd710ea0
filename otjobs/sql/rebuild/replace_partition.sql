ALTER TABLE {database}.{table} REPLACE PARTITION {partition} FROM {database}.rebuild_{table}
