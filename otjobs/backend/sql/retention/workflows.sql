-- Rows of workflows go a month at a time. The row that says how far they have come (2149-06-06) is of no day, and
-- stays.
ALTER TABLE {database}.workflow_rows MODIFY SETTING materialize_ttl_recalculate_only = 1;
ALTER TABLE {database}.workflow_rows MODIFY TTL toDateTime(least(day, toDate('2069-01-01')), 'UTC')
    + toIntervalDay({days} + 1);
-- Marks stay as long as the rows of their month: they say which workflows are frozen. So do those of `forget`
-- (1970-01-01).
ALTER TABLE {database}.workflow_marks MODIFY SETTING materialize_ttl_recalculate_only = 1;
ALTER TABLE {database}.workflow_marks MODIFY TTL
    toDateTime(if(day = toDate('1970-01-01'), toDate('2069-01-01'), least(day, toDate('2069-01-01'))), 'UTC')
        + toIntervalDay({days} + 32);
