-- Removes nodes from channels' audiences. ARGV per item: bucket, channel, node.
local results = {}
for at = 1, #ARGV, 3 do
  redis.call('SREM', '{' .. ARGV[at] .. '}o:' .. ARGV[at + 1], ARGV[at + 2])
  results[#results + 1] = 1
end
return results
