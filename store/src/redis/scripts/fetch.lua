-- Reads ranges of entries. ARGV per item: bucket, conversation, 'm' or 'c',
-- from, to. Returns per item the number up to which entries are gone, the base (up
-- to which they have left: those in between are in the archive), the head, and the
-- entries from `from` or base + 1 on, whichever is larger.
local results = {}
for at = 1, #ARGV, 5 do
  local bucket, conversation, kind, from, to = unpack(ARGV, at, at + 4)
  local tag = '{' .. bucket .. '}'
  local list = tag .. (kind == 'm' and 'l:' or 'e:') .. conversation
  local fields = kind == 'm' and {'lb', 'lg'} or {'v', 'eg'}
  local r = redis.call('HMGET', tag .. 'c:' .. conversation, fields[1], fields[2])
  local base = tonumber(r[1]) or 0
  local len = redis.call('LLEN', list)
  if kind == 'c' then base = base > len and base - len or 0 end
  from, to = tonumber(from), tonumber(to)
  if from <= base then from = base + 1 end
  local entries = {}
  if to >= from then entries = redis.call('LRANGE', list, from - base - 1, to - base - 1) end
  results[#results + 1] = {tonumber(r[2]) or base, base, base + len, entries}
end
return results
