-- The caller no longer has pieces of work. ARGV: its token, then their keys.
local results = {}
for at = 2, #ARGV do
  if redis.call('GET', ARGV[at]) == ARGV[1] then redis.call('DEL', ARGV[at]) end
  results[#results + 1] = 1
end
return results
