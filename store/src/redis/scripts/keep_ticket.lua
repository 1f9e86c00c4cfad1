-- Stores what one-time tickets stand for. ARGV per item: bucket, ticket, grant,
-- life in ms. Returns 1 per item. A repeat changes nothing: a ticket that was
-- taken meanwhile stays taken.
local results = {}
for at = 1, #ARGV, 4 do
  local key = '{' .. ARGV[at] .. '}t:' .. ARGV[at + 1]
  if redis.call('EXISTS', key) == 0 then
    redis.call('HSET', key, 'grant', ARGV[at + 2])
    redis.call('PEXPIRE', key, ARGV[at + 3])
  end
  results[#results + 1] = {1}
end
return results
