-- What few calls of `acknowledge_at_once.lua` need: see `on_demand.lua`.

-- Notes and sets a mark in a group. Returns for how many members it was noted,
-- or nil if it is not new.
local function mark_in_group(tag, conversation, user, seq)
  local status, members = judge(tag, conversation, user, 'd', tonumber(seq), 0, true)
  if status ~= 'advanced' then return nil end
  local count = note_for_all(members, conversation, user, 'd')
  set_mark(tag, conversation, user, 'd', seq)
  return count
end

-- Whether a mark is beyond the head of a conversation.
local function is_beyond(c, l, seq)
  return tonumber(seq) > (tonumber(call('HGET', c, 'lb')) or 0) + call('LLEN', l)
end

-- Like `unacknowledged`; nothing is new where this call has `looked` farther
-- already.
local function look(u, user, position, fp, looked)
  local box = open(match(u, '%d+'), user, floor(now / 1000) - bounds.age)
  if looked and position <= looked then return check(box, position, fp), 0 end
  return unacknowledged(box, position, fp, tonumber(ARGV[3]))
end

return {look = look, is_beyond = is_beyond, limit_notes = limit_notes, mark_in_group = mark_in_group}
