-- Has a refreshable view refreshed now.
SYSTEM REFRESH VIEW {database}.{view}
