-- One workflow by its id.
-- param workflow_id String =  -- 32 hex digits
SELECT * FROM workflows WHERE workflow_id = {workflow_id:String}
