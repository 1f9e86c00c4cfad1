-- The seqs of the last messages that users sent. ARGV per item: bucket, user,
-- conversation.
local results = {}
for at = 1, #ARGV, 3 do
  local filed = redis.call('HGET', '{' .. ARGV[at] .. '}u:' .. ARGV[at + 1], 'f:' .. ARGV[at + 2])
  results[#results + 1] = filed and string.match(filed, '^%d+ %d+ %d+ (%d+)') or '0'
end
return results
