-- Sets marks. ARGV per item: bucket, conversation, user, kind ('d' or 'r'),
-- seq, the seq up to which the user has read anyway, '1' for a group. Returns
-- per item 'advanced', 'unchanged', 'beyond' or 'no'.
local function set(bucket, conversation, user, kind, seq, floor_seq, group)
  local tag = '{' .. bucket .. '}'
  local c, l = tag .. 'c:' .. conversation, tag .. 'l:' .. conversation
  local field = kind .. ':' .. user
  local r = call('HMGET', c, 'lb', 'm', field)
  local least = tonumber(floor_seq)
  if group == '1' then
    local there, last = is_member(r[2], user)
    if not there then return 'no' end
    local since = tonumber(match(r[2], '^(%d+)', last + 1))
    if kind == 'r' and since > least then least = since end
  end
  local head = (tonumber(r[1]) or 0) + call('LLEN', l)
  if head == 0 and group ~= '1' then return 'no' end
  seq = tonumber(seq)
  if seq > head then return 'beyond' end
  local old = tonumber(r[3]) or 0
  -- A mark beyond the head is of a history that was lost.
  if old > head then old = 0 end
  if old > least then least = old end
  if seq <= least then return 'unchanged' end
  call('HSET', c, field, seq)
  return 'advanced'
end

local results = {}
for at = 1, #ARGV, 7 do results[#results + 1] = set(unpack(ARGV, at, at + 6)) end
return results
