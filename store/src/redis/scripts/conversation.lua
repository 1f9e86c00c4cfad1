-- The state of conversations. ARGV per item: bucket, conversation, the members
-- of a direct one ('' for a group) as a group has them. Returns per item head,
-- version, how many changes of the group itself it counts, name, owner, members,
-- their delivered and read marks one after the other, the last message if there
-- is one, what became of it if it was amended, and the newest recalled seq.
local results = {}
for at = 1, #ARGV, 3 do
  local tag, conversation, direct = '{' .. ARGV[at] .. '}', ARGV[at + 1], ARGV[at + 2]
  local c, l = tag .. 'c:' .. conversation, tag .. 'l:' .. conversation
  local r = call('HMGET', c, 'lb', 'v', 'name', 'owner', 'm', 'g')
  local len, version, members = call('LLEN', l), tonumber(r[2]) or 0, direct
  if direct == '' then members = r[5] or '' end
  local fields = {}
  for user in string.gmatch(members, '%d+,([^:]+):%d+:%d+;') do
    fields[#fields + 1] = 'd:' .. user
    fields[#fields + 1] = 'r:' .. user
  end
  local marks = {}
  -- A thousand members' fields fit on Lua's stack.
  if #fields > 0 then marks = call('HMGET', c, unpack(fields)) end
  for n = 1, #fields do marks[n] = marks[n] or '0' end
  local last = {}
  if len > 0 then last[1] = call('LINDEX', l, -1) end
  local head, state, recalled = (tonumber(r[1]) or 0) + len, {}, '0'
  if version > 0 then
    state = states(tag, conversation, head, head)
    recalled = call('ZRANGE', tag .. 'x:' .. conversation, -1, -1)[1]
    recalled = recalled and match(recalled, '^%d+') or '0'
  end
  results[#results + 1] = {head, version, tonumber(r[6]) or 0, r[3] or '', r[4] or '', members, marks, last,
    state, recalled}
end
return results
