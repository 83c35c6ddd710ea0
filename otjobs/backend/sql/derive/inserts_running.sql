-- Inserts that were running so many seconds ago; those of the refreshed views write nothing that others build on.
SELECT count() FROM system.processes
WHERE query_kind IN ('Insert', 'AsyncInsertFlush') AND elapsed >= {seconds:Float64} AND user != ''
    AND (current_database = {database:String} OR position(query, {database:String}) > 0
        OR position(query, 'otel_traces') > 0)
