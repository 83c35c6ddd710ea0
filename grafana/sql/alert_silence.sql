-- Whether any span of any service was stored in the window, by the clock of the database: always one row, 1 or 0.
SELECT countIf(last_arrived_at >= $__fromTime_ms) AS arrivals
FROM last_arrival
