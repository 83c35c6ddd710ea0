-- Answers nothing, and is refused where the account may not read the views.
SELECT 1 FROM {database}.jobs LIMIT 0
