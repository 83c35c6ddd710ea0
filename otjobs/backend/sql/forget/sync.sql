-- What other replicas have written is here before it is looked at.
SYSTEM SYNC REPLICA {database}.attempt_states;
SYSTEM SYNC REPLICA {database}.otel_traces;
