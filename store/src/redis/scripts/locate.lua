-- The locations of users. ARGV per item: bucket, user.
local results = {}
for at = 1, #ARGV, 2 do
  results[#results + 1] = redis.call('HGET', '{' .. ARGV[at] .. '}u:' .. ARGV[at + 1], 's') or ''
end
return results
