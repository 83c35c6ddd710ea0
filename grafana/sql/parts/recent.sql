-- Keeps the scan short where the time range is not what is asked for: what is open now, the choices of variables.
-- Jobs whose producer is not traced have no dispatch time, and are always read.
(enqueued_at >= $__fromTime_ms - toIntervalDay({lookback}) OR isNull(enqueued_at))
