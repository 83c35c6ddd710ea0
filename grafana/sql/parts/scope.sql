-- Which jobs a panel is about: the variables at the top of the dashboard. All three are leading key columns.
$__conditionalAll(system IN (${system:singlequote}), $system)
        AND $__conditionalAll(queue IN (${queue:singlequote}), $queue)
        AND $__conditionalAll(job_type IN (${job_type:singlequote}), $job_type)
