INSERT INTO {database}.otjobs_migrations (version, name) VALUES ({version}, '{name}')
