-- Makes a node the holder of sessions that have none, or prolongs what it holds.
-- ARGV: node, time in ms; then per item: bucket, owner, name. Returns the holders.
local results = {}
for at = 3, #ARGV, 3 do
  local key = '{' .. ARGV[at] .. '}j:' .. ARGV[at + 1] .. '/' .. ARGV[at + 2]
  local holder = redis.call('GET', key) or ARGV[1]
  if holder == ARGV[1] then redis.call('SET', key, holder, 'PX', ARGV[2]) end
  results[#results + 1] = holder
end
return results
