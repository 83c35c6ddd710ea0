-- One row per minute: is what is stored whole, fresh and plausible?
-- It reads spans, the largest table: filter on `minute`. Spans that never arrived are not in it.
SELECT
    minute, -- minute of the spans' start, UTC
    spans, -- distinct spans stored
    duplicates, -- rows beyond them: spans stored again, which count once in every figure
    freshness_seconds, -- least time from the end of a span to its storing; NULL when unknown
    last_arrived_at, -- when a span of the minute last arrived
    beacons_missed, -- attempts whose beacons ceased in the minute while their service went on
    spans_without_job, -- spans that carry no job
    negative_waits, -- starts before their job was ready: clocks disagree
    doubtful_times -- spans with a time before 2020, of a day whose jobs are gone, or over a day ahead, when it first
    --     arrived: what it tells of then is in no minute
FROM pipeline_health
