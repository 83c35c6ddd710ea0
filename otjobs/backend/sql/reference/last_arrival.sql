-- One row: when the newest span was stored, by the clock of the database. What says that nothing arrives.
-- Any span of any service counts, signs of life of long runs too, however old what it tells of is.
SELECT
    last_arrived_at, -- when the newest span was stored; NULL where none ever was
    silent_seconds -- how long ago that was; NULL where none ever was
FROM last_arrival
