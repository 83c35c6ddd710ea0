-- The text of a syntax tree.
SELECT formatQueryFromJSON({tree:String})
