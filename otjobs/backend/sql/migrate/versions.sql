-- The migrations that were applied.
SELECT DISTINCT version FROM {database}.otjobs_migrations ORDER BY version
