-- The nodes that have sessions of these names. ARGV per item: bucket, owner, name.
-- Returns '' where none has.
local results = {}
for at = 1, #ARGV, 3 do
  results[#results + 1] = redis.call('GET', '{' .. ARGV[at] .. '}j:' .. ARGV[at + 1] .. '/' .. ARGV[at + 2]) or ''
end
return results
