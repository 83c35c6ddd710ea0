-- The runs of a message that a broker hands to every worker, from `broadcast_runs`: (worker, 2 of its own or 1 of an
-- observer, end, start, outcome, error type, service, release, host, trace, span, CPU seconds, dispatched, dead letter,
-- reception).
-- Of one worker's reports, that of the process that ran it counts, then the last.
arrayFilter((x, next) -> x.1 != next,
    arraySort(arrayMap(x -> x::Tuple(String, UInt8, DateTime64(9, 'UTC'), DateTime64(9, 'UTC'), String, String, String,
        String, String, String, String, Float64, UInt32, UInt8, DateTime64(9, 'UTC')), broadcast_runs)) AS reports,
    arraySlice(arrayPushBack(arrayMap(x -> x.1, reports), '\n'), 2))
