-- Notes that the states are being deleted. A call after an interruption can no longer collect anew what is to go, so it
-- deletes what was collected once more.
CREATE TABLE IF NOT EXISTS {database}.forget_erasing (nothing UInt8) ENGINE = MergeTree ORDER BY tuple()
