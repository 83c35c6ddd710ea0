-- Deletes the rows of workflows, and the states of jobs, which come last: they tell what is to go.
ALTER TABLE {database}.workflow_rows DELETE WHERE workflow_id IN
    (SELECT workflow_id FROM {database}.forget_workflows WHERE whole)
        SETTINGS mutations_sync = 2, allow_nondeterministic_mutations = 1;
ALTER TABLE {database}.workflow_marks DELETE WHERE workflow_id IN
    (SELECT workflow_id FROM {database}.forget_workflows WHERE whole)
        SETTINGS mutations_sync = 2, allow_nondeterministic_mutations = 1;
ALTER TABLE {database}.attempt_states DELETE WHERE (hour, workflow_id, system, queue, job_type, job_id) IN
    (SELECT hour, workflow_id, system, queue, job_type, job_id FROM {database}.forget_attempt_states)
    OR (job_id = '' AND workflow_id IN (SELECT workflow_id FROM {database}.forget_workflows WHERE whole))
        SETTINGS mutations_sync = 2, allow_nondeterministic_mutations = 1;
