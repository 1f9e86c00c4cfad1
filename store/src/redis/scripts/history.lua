-- Messages of a conversation. ARGV per item: bucket, conversation, user, '1'
-- for a group, range ('n', 'b' or 'a'), seq, limit. Returns per item whether
-- the user is a member, the seq of the first message, whether there are more,
-- the messages, and what became of those that were amended.
local function read(bucket, conversation, user, group, range, seq, limit)
  local tag = '{' .. bucket .. '}'
  local r = call('HMGET', tag .. 'c:' .. conversation, 'lb', 'm', 'v')
  local base, since = tonumber(r[1]) or 0, 0
  if group == '1' then
    local there, last = is_member(r[2], user)
    if not there then return {0, 0, 0, {}, {}} end
    since = tonumber(match(r[2], '^(%d+)', last + 1))
  end
  local l = tag .. 'l:' .. conversation
  local head = base + call('LLEN', l)
  local lowest = since > base and since + 1 or base + 1
  seq, limit = tonumber(seq), tonumber(limit)
  local from, to, more
  if range == 'a' then
    from = seq + 1 > lowest and seq + 1 or lowest
    to = from + limit - 1
    more = to < head
  else
    to = range == 'b' and seq - 1 < head and seq - 1 or head
    from = to - limit + 1
    if from < lowest then from = lowest end
    more = from > lowest and to >= from
  end
  if to > head then to = head end
  -- A `from` beyond all bounds is no number that can be answered.
  if to < from then return {1, 0, more and 1 or 0, {}, {}} end
  return {1, from, more and 1 or 0, call('LRANGE', l, from - base - 1, to - base - 1),
    r[3] and states(tag, conversation, from, to) or {}}
end

local results = {}
for at = 1, #ARGV, 7 do results[#results + 1] = read(unpack(ARGV, at, at + 6)) end
return results
