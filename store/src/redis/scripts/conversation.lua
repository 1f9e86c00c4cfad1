-- The states of conversations. ARGV: the reader, whose entry alone of a group's
-- members is returned ('' for all); then per item bucket, conversation, and the
-- members of a direct one in a group's form ('' for a group). Returns per item
-- the head, the version, the number of changes of the group itself, name,
-- owner, roles (of the reader alone, if there is one), members, their delivered and read marks one after the other, the last
-- message if there is one, its state if it was amended, and the newest recalled
-- seq.
local reader = ARGV[1]

-- The entry of one member, or ''.
local function only(members, user)
  local comma = string.find(members, ',' .. user .. ':', 1, true)
  if not comma then return '' end
  local bucket = match(sub(members, comma > 8 and comma - 8 or 1, comma - 1), '%d+$')
  return bucket .. sub(members, comma, string.find(members, ';', comma, true))
end

local results = {}
for at = 2, #ARGV, 3 do
  local tag, conversation, direct = '{' .. ARGV[at] .. '}', ARGV[at + 1], ARGV[at + 2]
  local c, l = tag .. 'c:' .. conversation, tag .. 'l:' .. conversation
  local r = call('HMGET', c, 'lb', 'v', 'name', 'owner', 'm', 'g', 'roles')
  local len, version, members = call('LLEN', l), tonumber(r[2]) or 0, direct
  if direct == '' then members = reader == '' and (r[5] or '') or only(r[5] or '', reader) end
  local fields = {}
  for user in string.gmatch(members, '%d+,([^:]+):%d+:%d+;') do
    fields[#fields + 1] = 'd:' .. user
    fields[#fields + 1] = 'r:' .. user
  end
  local marks = {}
  -- The fields of a thousand members fit on Lua's stack.
  if #fields > 0 then marks = call('HMGET', c, unpack(fields)) end
  -- A seq, and behind it perhaps a time.
  for n = 1, #fields do marks[n] = match(marks[n] or '0', '^%d+') end
  local last = {}
  if len > 0 then last[1] = call('LINDEX', l, -1) end
  local head, state, recalled = (tonumber(r[1]) or 0) + len, {}, '0'
  if version > 0 then
    if call('ZSCORE', tag .. 'z:' .. conversation, head) then state[1] = state_of(tag, conversation, head) end
    recalled = call('ZRANGE', tag .. 'x:' .. conversation, -1, -1)[1]
    recalled = recalled and match(recalled, '^%d+') or '0'
  end
  local roles = r[7] or ''
  if reader ~= '' then
    local role = has_role(roles, reader, 'a') and 'a' or has_role(roles, reader, 'r') and 'r'
    roles = role and ',' .. reader .. ':' .. role or ''
  end
  results[#results + 1] = {head, version, tonumber(r[6]) or 0, r[3] or '', r[4] or '', roles, members, marks, last,
    state, recalled}
end
return results
