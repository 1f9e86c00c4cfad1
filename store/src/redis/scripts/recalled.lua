-- How many messages were recalled. ARGV per item: bucket, conversation, the seq
-- after which to count, and the last seq to count.
local results = {}
for at = 1, #ARGV, 4 do
  local x = '{' .. ARGV[at] .. '}x:' .. ARGV[at + 1]
  results[#results + 1] = redis.call('ZCOUNT', x, '(' .. ARGV[at + 2], ARGV[at + 3])
end
return results
