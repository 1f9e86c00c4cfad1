-- Whether a user has the role of this letter ('a' admin, 'r' reader), in a group's
-- field `roles`, which may be missing.
local function has_role(roles, user, letter)
  return roles and find(roles, ',' .. user .. ':' .. letter, 1, true) and true or false
end
