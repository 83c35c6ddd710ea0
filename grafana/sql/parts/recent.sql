-- Keeps the scan short for what is not filtered by dispatch time itself: the dispatch day is what prunes.
-- Jobs whose producer is not traced have no dispatch time, and are always read.
(enqueued_at >= $__fromTime_ms - toIntervalDay({lookback}) OR isNull(enqueued_at))
