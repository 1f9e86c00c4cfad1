-- Lets one-time tickets be taken again. ARGV per item: bucket, ticket, by whom
-- it was taken. Returns 1 per item.
local results = {}
for at = 1, #ARGV, 3 do
  local key = '{' .. ARGV[at] .. '}t:' .. ARGV[at + 1]
  if redis.call('HGET', key, 'by') == ARGV[at + 2] then
    redis.call('HDEL', key, 'by')
  end
  results[#results + 1] = {1}
end
return results
