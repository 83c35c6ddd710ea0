-- Tables of ClickHouse about itself that a reader of the embedded SQL port may not read, in lower case: all but those
-- that describe tables, functions, formats and settings, which clients ask for, and harmless generators.
SELECT lower(name)
FROM system.tables
WHERE database = 'system' AND name NOT IN (
    'aggregate_function_combinators', 'build_options', 'collations', 'columns', 'completions', 'contributors',
    'data_skipping_indices', 'data_type_families', 'databases', 'formats', 'functions', 'keywords', 'licenses',
    'numbers', 'numbers_mt', 'one', 'parts', 'parts_columns', 'projections', 'settings', 'settings_changes',
    'table_engines', 'table_functions', 'tables', 'time_zones', 'view_refreshes', 'views', 'zeros', 'zeros_mt'
)
