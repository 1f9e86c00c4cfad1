-- Says that entries are gone for good. ARGV per item: bucket, conversation, 'm' or
-- 'c', and up to which number; what has not left the log stays.
local results = {}
for at = 1, #ARGV, 4 do
  local tag, conversation, kind, upto = '{' .. ARGV[at] .. '}', ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3])
  local c = tag .. 'c:' .. conversation
  local r = call('HMGET', c, 'lb', 'v', 'lg', 'eg')
  local base, gone, field = tonumber(r[1]) or 0, r[3], 'lg'
  if kind == 'c' then
    base, gone, field = base_of_changes(tonumber(r[2]) or 0, call('LLEN', tag .. 'e:' .. conversation)), r[4], 'eg'
  end
  upto = math.min(upto, base)
  if upto > (tonumber(gone) or base) then
    call('HSET', c, field, upto)
    if kind == 'm' then forget_states(tag, conversation, upto) end
  end
  results[#results + 1] = 1
end
return results
