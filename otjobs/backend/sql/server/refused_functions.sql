-- Functions that a reader of the embedded SQL port may not call, in lower case: all of a group that is not listed here,
-- so that what a later version adds is refused until somebody has looked at it, and those of a listed group that read
-- files or the machine, wait, or run text as a query or a format. Three of no group are what the parser writes for
-- CASE, nested tuples and casts.
WITH
    [
        'Arithmetic', 'Arrays', 'Bit', 'Bitmap', 'Comparison', 'Conditional', 'Dates and Times', 'Distance', 'Encoding',
        'Encryption', 'Financial', 'Geo', 'Geo Polygon', 'Hash', 'IP Address', 'JSON', 'Logical', 'Map', 'Mathematical',
        'Null', 'NumericIndexedVector', 'Other', 'QBit', 'Random Number', 'Rounding', 'String', 'String Replacement',
        'String Search', 'String Splitting', 'Time Series', 'Time Window', 'Tuple', 'Type Conversion', 'URL', 'UUID'
    ] AS groups,
    [
        'file', 'sleep', 'sleepEachRow', 'filesystemAvailable', 'filesystemCapacity',
        'filesystemUnreserved', 'getMacro',
        'getServerSetting', 'getServerPort', 'tcpPort', 'showCertificate', 'generateSerialID', 'getClientHTTPHeader',
        'getOSKernelVersion', 'hasThreadFuzzer', 'fuzzQuery', 'formatRow', 'formatRowNoNewline', 'joinGet',
        'joinGetOrNull', 'structureToCapnProtoSchema', 'structureToProtobufSchema', 'zookeeperSessionUptime'
    ] AS named,
    ['caseWithExpression', 'nested', '_CAST'] AS written,
    plain AS (SELECT name, categories FROM system.functions WHERE NOT is_aggregate AND alias_to = ''),
    refused AS (SELECT name FROM plain WHERE (NOT has(groups, categories) AND NOT has(written, name))
        OR has(named, name))
SELECT DISTINCT lower(name)
FROM system.functions
WHERE NOT is_aggregate AND (name IN (SELECT name FROM refused) OR alias_to IN (SELECT name FROM refused))
