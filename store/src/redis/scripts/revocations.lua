-- Revocations of tokens after a number. ARGV: the number, the most of them. Returns
-- the last number that was given; then for each its number, name, and before and
-- until when.
local result = {redis.call('HGET', '{sb}revoked', '') or '0'}
local found = redis.call('ZRANGEBYSCORE', '{sb}revoked_numbers', '(' .. ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])
for at = 1, #found, 2 do
  local before, ends = (redis.call('HGET', '{sb}revoked', found[at]) or '0 0'):match('^(%d+) (%d+)$')
  for _, part in ipairs({found[at + 1], found[at], before, ends}) do result[#result + 1] = part end
end
return result
