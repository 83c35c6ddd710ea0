SELECT jobs_taken_from, jobs_kept_from, spans_kept_from FROM {database}.horizons
