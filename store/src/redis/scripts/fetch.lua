-- Reads ranges of entries. ARGV per item: bucket, conversation, 'm' or 'c',
-- from, to. Returns per item the base, the head, and the entries from `from` or
-- base + 1 on, whichever is larger.
local results = {}
for at = 1, #ARGV, 5 do
  local bucket, conversation, kind, from, to = unpack(ARGV, at, at + 4)
  local tag = '{' .. bucket .. '}'
  local list = tag .. (kind == 'm' and 'l:' or 'e:') .. conversation
  local base = tonumber(redis.call('HGET', tag .. 'c:' .. conversation, kind == 'm' and 'lb' or 'v')) or 0
  local len = redis.call('LLEN', list)
  if kind == 'c' then base = base > len and base - len or 0 end
  from, to = tonumber(from), tonumber(to)
  if from <= base then from = base + 1 end
  local entries = {}
  if to >= from then entries = redis.call('LRANGE', list, from - base - 1, to - base - 1) end
  results[#results + 1] = {base, base + len, entries}
end
return results
