-- Of what kind the database's landing table is: Distributed where it lies over shards.
SELECT engine FROM system.tables WHERE database = {database:String} AND name = 'otel_traces'
