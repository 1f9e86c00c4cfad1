-- Takes messages that are due, the oldest first, and holds them. ARGV: how many
-- at most, how many ms to hold. Returns the ids.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local ids = redis.call('ZRANGEBYSCORE', UNHEARD, '-inf', now, 'LIMIT', 0, ARGV[1])
for _, id in ipairs(ids) do redis.call('ZADD', UNHEARD, now + ARGV[2], id) end
return ids
