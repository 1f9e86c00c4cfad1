-- The members of groups. ARGV per item: bucket, conversation. Returns them per
-- item in a group's form, '' for a group that is not there.
local results = {}
for at = 1, #ARGV, 2 do
  results[#results + 1] = redis.call('HGET', '{' .. ARGV[at] .. '}c:' .. ARGV[at + 1], 'm') or ''
end
return results
