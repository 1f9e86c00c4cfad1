-- The seq and version up to which a conversation is filed. ARGV per item:
-- bucket, user, conversation.
local results = {}
for at = 1, #ARGV, 3 do
  local filed = redis.call('HGET', '{' .. ARGV[at] .. '}u:' .. ARGV[at + 1], 'f:' .. ARGV[at + 2])
  local seq, version = string.match(filed or '0 0', '^(%d+) (%d+)')
  results[#results + 1] = {seq, version}
end
return results
