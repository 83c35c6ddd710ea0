-- Publications and runs of the traces in {fresh}, a publication that has two spans as one. A client may make a PRODUCER
-- span inside of another one for the same message (pika; FastStream's `create` and `publish`), and the context of
-- either travels: the outer one is the publication, whichever a run names. Several inside of one are a batch, and the
-- outer one is no job. How: a publication below another span has a second row here (`part` 3), which meets the outer
-- one by the outer one's id, and then its own row and runs by its own id.
SELECT * EXCEPT (part, publication, batch, outer_id, is_inside, inside),
    if(outermost != '', outermost, publication) AS publication,
    toUInt8(batch OR (part = 1 AND inside > 1)) AS batch
FROM
(
    SELECT *, maxIf(parent_span_id, part = 3 AND is_inside AND inside = 1)
        OVER (PARTITION BY workflow_id, system, if(part = 3, span_id, publication)) AS outermost
    FROM
    (
        SELECT *,
            maxIf(message_id, part = 1) OVER by_outer AS outer_id,
            part = 3 AND countIf(part = 1) OVER by_outer > 0
                AND (outer_id = '' OR message_id = '' OR message_id = outer_id) AS is_inside,
            countIf(part = 3) OVER by_outer AS inside
        FROM
        (
            SELECT *, arrayJoin(if(role = 1 AND parent_span_id != '' AND system NOT IN ('celery', 'taskiq', 'bullmq'),
                [1, 3], [toUInt8(role)])) AS part
            FROM ({include foreign_traces fresh={fresh}})
            WHERE role > 0
        )
        WINDOW by_outer AS (PARTITION BY workflow_id, system, queue, if(part = 3, parent_span_id, publication))
    )
)
WHERE part < 3
