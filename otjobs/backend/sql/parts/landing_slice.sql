-- Spans that began within a stretch of time, as a filter on the landing table: a rebuild's share that fits in memory.
Timestamp >= toDateTime64('{start}', 9, 'UTC') AND Timestamp < toDateTime64('{end}', 9, 'UTC')
