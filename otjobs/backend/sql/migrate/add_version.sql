-- Notes that a migration was applied; a second note replaces the first.
INSERT INTO {database}.otjobs_migrations (version, name) VALUES ({version}, '{name}')
