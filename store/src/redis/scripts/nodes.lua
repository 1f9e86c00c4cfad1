-- The nodes whose lease is valid. ARGV: the version of the list that the caller
-- has, empty if it has none. Returns the version of the present list, and the
-- nodes if it is another version. The list is still the same if, in the same
-- incarnation of the store, no node was added (lease.lua counts that) and as many
-- leases are valid as before. Removes nodes whose lease ended more than a minute
-- ago.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
for _, node in ipairs(redis.call('ZRANGEBYSCORE', '{sb}nodes', '-inf', now - 60000)) do
  redis.call('ZREM', '{sb}nodes', node)
  redis.call('HDEL', '{sb}peers', node)
end
local i = redis.call('HMGET', '{sb}incarnation', 'id', 'count', 'added')
local live = redis.call('ZCOUNT', '{sb}nodes', '(' .. now, '+inf')
local version = (i[1] or '') .. '.' .. (i[2] or '') .. '.' .. (i[3] or '') .. '.' .. live
if version == ARGV[1] then return {version} end
local result = redis.call('ZRANGEBYSCORE', '{sb}nodes', '(' .. now, '+inf')
table.insert(result, 1, version)
return result
