-- The roles a handle has.
SELECT arrayJoin(currentRoles())
