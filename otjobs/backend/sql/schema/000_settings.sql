-- What this database is told to keep, and what follows from it. All later views build on `horizons`.

-- The newest value of a name counts, so a row that is there twice changes nothing; older ones stay, as a record.
-- Engine MergeTree; key name and time; retention: for ever.
CREATE TABLE IF NOT EXISTS {database}.otjobs_settings
(
    name LowCardinality(String),
    value String,
    set_at DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC')
)
ENGINE = MergeTree
ORDER BY (name, set_at);

-- How far back the layers reach, in whole days (UTC). Days before are never computed again, since what they were made
-- of is gone or going: spans of their jobs that arrive late stay spans.
--   jobs_taken_from   arriving spans make jobs from this day on
--   jobs_kept_from    jobs are shown, workflows and minutes computed, from this day on: half an hour later, so that
--                     what arrived in time is in the figures before they freeze; the bytes go another half hour later
--   spans_kept_from   every span from this day on is stored
-- A longer retention brings nothing back, hence `..._lost_before`. Nothing lies before 1970-01-02 (see attempt_states),
-- so that a mark of an earlier time can say "frozen" (see forget).
CREATE OR REPLACE VIEW {database}.horizons
DEFINER = {definer} SQL SECURITY DEFINER
AS WITH
    x -> toUInt32OrZero(x) AS number,
    (days, moment) -> if(days = 0, toDateTime(86400, 'UTC'), toStartOfDay(moment) - toIntervalDay(days)) AS first_day,
    number(argMaxIf(value, set_at, name = 'keep_jobs_days')) AS jobs_days,
    number(argMaxIf(value, set_at, name = 'keep_spans_days')) AS spans_days,
    toDateTime(number(argMaxIf(value, set_at, name = 'jobs_lost_before')), 'UTC') AS jobs_lost_before,
    toDateTime(number(argMaxIf(value, set_at, name = 'spans_lost_before')), 'UTC') AS spans_lost_before
SELECT
    greatest(jobs_lost_before, first_day(jobs_days, now('UTC'))) AS jobs_taken_from,
    greatest(jobs_lost_before, first_day(jobs_days, now('UTC') - toIntervalMinute(30))) AS jobs_kept_from,
    greatest(spans_lost_before, first_day(spans_days, now('UTC'))) AS spans_kept_from
FROM {database}.otjobs_settings;
