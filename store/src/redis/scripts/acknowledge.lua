-- Sets the acknowledged position of inboxes. ARGV per item: bucket, user,
-- position. A position beyond the head comes from a history that was lost.
local results = {}
for at = 1, #ARGV, 3 do
  local tag, position = '{' .. ARGV[at] .. '}', tonumber(ARGV[at + 2])
  local u = tag .. 'u:' .. ARGV[at + 1]
  local r = redis.call('HMGET', u, 'a', 'b')
  local old = tonumber(r[1]) or 0
  local base = r[2] and tonumber(string.match(r[2], '^%d+')) or 0
  if position > old or old > base + redis.call('LLEN', tag .. 'i:' .. ARGV[at + 1]) then
    redis.call('HSET', u, 'a', position)
  end
  results[#results + 1] = 1
end
return results
