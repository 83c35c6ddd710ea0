-- The syntax tree of a statement that has no JSON form (DESCRIBE, EXISTS, SHOW CREATE); filled in by
-- otjobs.backend.server.access once chDB's parser has said that it is one statement.
EXPLAIN AST {statement}
