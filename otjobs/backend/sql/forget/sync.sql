SYSTEM SYNC REPLICA {database}.attempt_states;
SYSTEM SYNC REPLICA {database}.otel_traces;
