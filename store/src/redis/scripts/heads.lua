-- How far conversations have come. ARGV per item: bucket, conversation, '1' for a
-- group. Returns per item whether it is there, the seq and the version.
local results = {}
for at = 1, #ARGV, 3 do
  local tag, conversation, group = '{' .. ARGV[at] .. '}', ARGV[at + 1], ARGV[at + 2]
  local r = redis.call('HMGET', tag .. 'c:' .. conversation, 'lb', 'v', 'm')
  results[#results + 1] = {(group == '0' or r[3]) and 1 or 0,
    (tonumber(r[1]) or 0) + redis.call('LLEN', tag .. 'l:' .. conversation), tonumber(r[2]) or 0}
end
return results
