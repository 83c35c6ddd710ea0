SELECT count() FROM {database}.service_clock FINAL
