-- Intervals in which nothing happened are zero, not absent.
ORDER BY time WITH FILL FROM toStartOfInterval($__fromTime, toIntervalSecond($__interval_s)) TO $__toTime
    STEP toIntervalSecond($__interval_s)
