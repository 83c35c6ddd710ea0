SELECT DISTINCT version FROM {database}.otjobs_migrations ORDER BY version
