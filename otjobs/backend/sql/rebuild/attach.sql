ALTER TABLE {database}.{table} ATTACH PARTITION {partition} FROM {database}.rebuild_{table}
