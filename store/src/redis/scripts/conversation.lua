-- The state of conversations. ARGV per item: bucket, conversation, the members
-- of a direct one ('' for a group) as a group has them. Returns per item head,
-- version, name, owner, members, their delivered and read marks one after the
-- other, and the last message if there is one.
local call = redis.call
local results = {}
for at = 1, #ARGV, 3 do
  local tag, conversation, direct = '{' .. ARGV[at] .. '}', ARGV[at + 1], ARGV[at + 2]
  local c, l = tag .. 'c:' .. conversation, tag .. 'l:' .. conversation
  local r = call('HMGET', c, 'lb', 'eb', 'name', 'owner', 'm')
  local len, version, members = call('LLEN', l), 0, direct
  if direct == '' then
    version = (tonumber(r[2]) or 0) + call('LLEN', tag .. 'e:' .. conversation)
    members = r[5] or ''
  end
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
  results[#results + 1] = {(tonumber(r[1]) or 0) + len, version, r[3] or '', r[4] or '', members, marks, last}
end
return results
