-- Notes a mark of `user` for all who are told of it. `members` has a group's
-- form. Returns for how many it was noted.
local function note_for_all(members, conversation, user, kind)
  local all, count = {}, 0
  for bucket, name in string.gmatch(members, '(%d+),([^:]+):') do
    count = count + 1
    all[count] = {bucket, name}
  end
  local done = 0
  for _, member in ipairs(all) do
    local own = member[2] == user
    if own and kind == 'r' or not own and count <= bounds.receipts then
      local m = '{' .. member[1] .. '}m:' .. member[2]
      note_next(m, conversation)
      keep_notes(m, bounds.age)
      done = done + 1
    end
  end
  return done
end
