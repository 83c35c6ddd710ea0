SELECT engine FROM system.tables WHERE database = {database:String} AND name = 'otel_traces'
