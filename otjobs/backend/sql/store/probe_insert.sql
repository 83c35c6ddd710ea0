-- A row that nobody reads, as real as a span's: it takes disk space, and rights to change the tables.
INSERT INTO {database}.otjobs_settings (name, value) VALUES ('doctor', '')
