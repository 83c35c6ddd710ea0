-- How many services have a clock.
SELECT count() FROM {database}.service_clock FINAL
