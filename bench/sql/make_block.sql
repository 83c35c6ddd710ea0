-- Where a block of spans is kept before it is inserted.
CREATE TABLE {database}.block AS {database}.otel_traces ENGINE = Memory
