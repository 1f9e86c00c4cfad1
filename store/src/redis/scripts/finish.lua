-- Removes notes of unfiled entries, unless they are newer ones. ARGV per item:
-- bucket, field, token.
local results = {}
for at = 1, #ARGV, 3 do
  local key = '{' .. ARGV[at] .. '}p'
  local note = redis.call('HGET', key, ARGV[at + 1])
  if note and string.match(note, '^%d+ ([^ ]+)') == ARGV[at + 2] then redis.call('HDEL', key, ARGV[at + 1]) end
  results[#results + 1] = 1
end
return results
