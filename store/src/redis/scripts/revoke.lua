-- Stores revocations of tokens, each with the next number. ARGV: the most that are
-- kept, then for each its name, and before and until when (Unix ms). Returns for
-- each 1, or 0 where there is no room. Of two revocations of one name the later
-- times count. `{sb}revoked` has name to times, and under the empty name the last
-- number; `{sb}revoked_numbers` and `{sb}revoked_ends` have the names by number and
-- by end. The end is written first, so that whatever a failing write leaves here is
-- forgotten in time, and completed by a repeat.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
-- So many a time that nobody waits for it.
for _, name in ipairs(redis.call('ZRANGEBYSCORE', '{sb}revoked_ends', '-inf', now, 'LIMIT', 0, 1000)) do
  redis.call('HDEL', '{sb}revoked', name)
  redis.call('ZREM', '{sb}revoked_numbers', name)
  redis.call('ZREM', '{sb}revoked_ends', name)
end
local results = {}
for at = 2, #ARGV, 3 do
  local name, before, ends = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local held = redis.call('HGET', '{sb}revoked', name)
  if not held and redis.call('ZCARD', '{sb}revoked_ends') >= tonumber(ARGV[1]) then
    results[#results + 1] = 0
  else
    if held then
      local last_before, last_ends = held:match('^(%d+) (%d+)$')
      before, ends = math.max(before, tonumber(last_before)), math.max(ends, tonumber(last_ends))
    end
    redis.call('ZADD', '{sb}revoked_ends', string.format('%.0f', ends), name)
    redis.call('HSET', '{sb}revoked', name, string.format('%.0f %.0f', before, ends))
    redis.call('ZADD', '{sb}revoked_numbers', redis.call('HINCRBY', '{sb}revoked', '', 1), name)
    results[#results + 1] = 1
  end
end
return results
