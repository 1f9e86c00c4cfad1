-- Keeps what one-time tickets stand for. ARGV per item: bucket, ticket, grant,
-- life in ms. Returns 1 per item.
local results = {}
for at = 1, #ARGV, 4 do
  redis.call('SET', '{' .. ARGV[at] .. '}t:' .. ARGV[at + 1], ARGV[at + 2], 'PX', ARGV[at + 3])
  results[#results + 1] = {1}
end
return results
