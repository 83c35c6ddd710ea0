-- Which migrations this database has; repeating one leaves one row.
CREATE TABLE IF NOT EXISTS {database}.otjobs_migrations
(
    version UInt32,
    name String,
    applied_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(applied_at)
ORDER BY version
