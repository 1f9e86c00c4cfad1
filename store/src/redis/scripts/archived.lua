-- The caller no longer works on buckets. ARGV: its token, then buckets.
local results = {}
for at = 2, #ARGV do
  local key = '{' .. ARGV[at] .. '}q'
  if redis.call('GET', key) == ARGV[1] then redis.call('DEL', key) end
  results[#results + 1] = 1
end
return results
