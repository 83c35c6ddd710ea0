-- Adds a shadow's partition to the live table. Twice is no harm: the tables merge equal rows.
ALTER TABLE {database}.{table} ATTACH PARTITION {partition} FROM {database}.rebuild_{table}
