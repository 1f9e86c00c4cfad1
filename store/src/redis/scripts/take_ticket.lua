-- Takes one-time tickets. ARGV per item: bucket, ticket. Returns per item
-- whether it was there, and what it stands for.
local results = {}
for at = 1, #ARGV, 2 do
  local grant = redis.call('GETDEL', '{' .. ARGV[at] .. '}t:' .. ARGV[at + 1])
  results[#results + 1] = {grant and 1 or 0, grant or ''}
end
return results
