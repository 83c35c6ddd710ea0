SELECT 1 FROM {database}.jobs LIMIT 0
