-- What the traces in {fresh} tell of attempts, as rows of `attempt_states`.
-- Each layer, from the innermost, looks at all rows that share something: a publication, the run around a publication,
-- a job. A tuple's name says what it tells of: `made` and `origin` of a publication, `around`, `run` and `latest` of a
-- run. (As few layers and columns as can be: a query is analysed at every insert, and that takes the square of both.)
-- Why right in any order: the more spans are known, the larger a column gets, or the row goes over to another key.
WITH
    toDateTime64(0, 9, 'UTC') AS never,
    toDateTime64('2261-01-01 00:00:00', 9, 'UTC') AS far
SELECT
    toStartOfHour(toDateTime(ifNull(enqueued_at, first_start.1), 'UTC')) AS hour,
    system, queue, job_type, enqueued_at, workflow_id, job_id, attempt,
    multiIf(attempt = 1, never, system = 'bullmq', before.2, system IN ('celery', 'taskiq'), published, never)
        AS published_at,
    due AS due_at,
    if(has_started, began, far) AS started_at,
    far AS observed_started_at,
    -- An end that leaves open what it was: the last that is known of the run.
    if(has_started AND outcome = '',
        (latest.1, 1e9, latest.7, latest.8, latest.9, latest.10, latest.11, latest.2, latest.12),
        (never, 0., '', '', '', '', '', '', '')) AS alive,
    if(outcome != '',
        (toUInt8(2), latest.1, latest.2, outcome, if(outcome = 'success', '', latest.6), toUInt8(0),
            toUInt32(0), latest.7, latest.8,
            latest.9, latest.10, latest.11, latest.12, -1.),
        (toUInt8(0), never, '', '', '', toUInt8(0), toUInt32(0), '', '', '', '', '', '', 0.)) AS ending,
    latest.13 AS max_attempts,
    first_publication.5 AS producer,
    first_publication.6 AS producer_host,
    first_publication.7.1 AS parent_id, first_publication.7.2 AS parent_type, first_publication.7.3 AS parent_attempt,
    -- Is it told when the attempt was ready, or may a delay have been asked for that no span tells of?
    toUInt32(4 * known + if(delayed OR (system = 'celery' AND NOT has_started)
        OR (system = 'bullmq' AND before.1 != 'retry'), 1, 2)) AS pairing
FROM
(
    SELECT *,
        if(isNull(enqueued_at), first_start.2, first_publication.3) AS queue,
        if(first_publication.4 != '', first_publication.4, first_start.3) AS job_type,
        any((latest.4, latest.5)) OVER (PARTITION BY job ORDER BY attempt RANGE BETWEEN 1 PRECEDING AND 1 PRECEDING)
            AS before,
        multiIf(
            NOT has_started, '',
            latest.4 = 'complete', 'success',
            -- A job that failed for good may be run again by hand.
            latest.4 = 'fail' AND highest = attempt, 'failure',
            latest.4 IN ('retry', 'delay', 'fail'), 'retry',
            system = 'celery' AND latest.3 != '', latest.3,
            latest.3 IN ('failed', 'failure', '') AND highest > attempt, 'retry',
            -- TaskIQ's retry middleware counts the failures it deals with before the span ends.
            system = 'taskiq' AND latest.3 = 'failed' AND latest.14 < attempt, 'failure',
            system = 'taskiq' AND latest.3 IN ('failed', 'failure') AND latest.14 >= attempt AND latest.13 > 0,
            if(latest.14 < latest.13, 'retry', 'failure'),
            -- Whether it failed for good is not told.
            latest.3 = 'failed', '',
            latest.3) AS outcome
    FROM
    (
        -- Runs with one number, such as those of a message delivered twice, are one: the earliest start, the latest
        -- end.
        SELECT job, number AS attempt, job.1 AS workflow_id, job.2 AS system, job.4 AS job_id,
            any(first) AS first_publication,
            any(first_run) AS first_start,
            nullIf(first_publication.1, toDateTime64(0, 9, 'UTC')) AS enqueued_at,
            any(highest_number) AS highest,
            any(spans_known) AS known,
            max(role) = 2 AS has_started,
            minIf(g.began, role = 2) AS began,
            maxIf(origin.1, role = 2) AS published,
            max(due_at) AS due,
            max(g.delayed) AS delayed,
            maxIf(run, role = 2) AS latest
        FROM
        (
            SELECT *,
                -- The job's first publication, and its first run.
                argMinIf(origin, (origin.1, origin.2), is_first AND origin.1 > toDateTime64(0, 9, 'UTC')) OVER its_job
                    AS first,
                argMinIf((began, toString(queue), toString(job_type)), (began, span_id), role = 2) OVER its_job
                    AS first_run,
                max(number) OVER its_job AS highest_number
            FROM
            (
                SELECT job, span_id, role, number, queue, job_type, began, due_at, batch,
                    failed, delayed, run, spans_known,
                    if(role = 1, made, maxIf(made, role = 1) OVER (PARTITION BY workflow_id, system, publication))
                        AS origin,
                    if(role = 1, number = 1 AND NOT batch, number = 1 OR system NOT IN ('celery', 'taskiq')) AS is_first
                FROM
                (
                    SELECT *,
                        maxIf((job, toString(job_type), told, is_sure), role = 2) OVER place AS around,
                        countIf(role = 2) OVER place AS runs_around,
                        role = 1 AND around.1 = job AS is_retry,
                        toUInt16(if(is_retry, greatest(told, around.3 + 1), told)) AS number,
                        -- Of several messages handled in one run, nobody knows which one a publication came of; and the
                        -- id of a run's job may come with the publication of the run.
                        (began, span_id, toString(queue), toString(job_type), toString(service), toString(host),
                            if(role = 1 AND runs_around = 1 AND around.4 AND NOT is_retry,
                                (around.1.4, around.2, around.3), ('', '', toUInt16(0)))) AS made
                    FROM
                    (
                        SELECT *,
                            maxIf(message_id, role = 1) OVER from_publication AS published_id,
                            minIf(message_id, role = 2 AND message_id != '') OVER from_publication AS run_id,
                            maxIf(attempt, role = 1) OVER from_publication AS published_attempt,
                            sum(1 + (verdict != '')) OVER (PARTITION BY workflow_id) AS spans_known,
                            -- Ids count per queue in BullMQ.
                            (workflow_id, toString(system), if(system = 'bullmq', toString(queue), ''),
                                multiIf(message_id != '', message_id, published_id != '', published_id,
                                    -- A client may choose the id after the publication's span began: its run tells it.
                                    publication != '' AND NOT maxIf(batch, role = 1) OVER from_publication,
                                    if(run_id != '', run_id, publication), span_id)) AS job,
                            message_id != '' OR maxIf(role, role = 1) OVER from_publication = 1 AS is_sure,
                            toUInt16(multiIf(
                                attempt > 0, attempt,
                                role = 1, if(system = 'celery',
                                    greatest(minIf(attempt, role = 2) OVER from_publication, 1), 1),
                                published_attempt > 0, published_attempt,
                                system = 'taskiq', greatest(retries, 1),
                                1)) AS told
                        FROM ({include foreign_publications fresh={fresh}})
                        WINDOW from_publication AS (PARTITION BY workflow_id, system, publication)
                    )
                    WINDOW place AS (PARTITION BY workflow_id, if(role = 1, parent_span_id, span_id))
                )
            )
            WINDOW its_job AS (PARTITION BY job)
        ) AS g
        WHERE role = 2 OR (number = 1 AND NOT batch AND NOT failed)
        GROUP BY job, number
    )
)
