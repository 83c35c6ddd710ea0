-- How far back jobs are taken, jobs are kept and spans are kept: the view `horizons` of the schema.
SELECT jobs_taken_from, jobs_kept_from, spans_kept_from FROM {database}.horizons
