-- Keeps the scan short where the time range is about starts and ends: it is the dispatch time that prunes. Dispatched
-- not long before the range, and not after it, with a day to spare for clocks that differ.
-- Jobs whose producer is not traced have no dispatch time, and are always read.
(enqueued_at BETWEEN $__fromTime_ms - toIntervalDay({lookback}) AND $__toTime_ms + toIntervalDay(1) OR isNull(enqueued_at))
