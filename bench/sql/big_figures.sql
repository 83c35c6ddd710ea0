-- Is the big workflow whole?
SELECT complete, jobs, open_jobs FROM workflows WHERE workflow_id = 'feedfacefeedfacefeedfacefeedface'
