-- The states of all jobs that carry the label.
INSERT INTO {database}.forget_attempt_states
SELECT * FROM {database}.attempt_states
WHERE (workflow_id, system, queue, job_id) IN
    (SELECT workflow_id, system, queue, job_id FROM {database}.attempt_states
        WHERE has(label_pairs, ({label:String}, {value:String})))
SETTINGS max_partitions_per_insert_block = 0, insert_deduplicate = 0
