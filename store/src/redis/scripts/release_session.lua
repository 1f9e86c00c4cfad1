-- Takes sessions from a node that holds them. ARGV: node; then per item: bucket,
-- owner, name. Returns 1 per item.
local results = {}
for at = 2, #ARGV, 3 do
  local key = '{' .. ARGV[at] .. '}j:' .. ARGV[at + 1] .. '/' .. ARGV[at + 2]
  if redis.call('GET', key) == ARGV[1] then redis.call('DEL', key) end
  results[#results + 1] = 1
end
return results
