-- Renews a node's lease. ARGV: node, lease in ms. Returns whether the lease had
-- ended, and the store's incarnation. Counts the nodes that are added to the list
-- of live nodes, so that nodes.lua knows whether it is another list.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local node = ARGV[1]
local lease = redis.call('ZSCORE', '{sb}nodes', node)
local ended = not lease or tonumber(lease) <= now
if ended then redis.call('HINCRBY', '{sb}incarnation', 'added', 1) end
redis.call('ZADD', '{sb}nodes', now + ARGV[2], node)
local i = redis.call('HMGET', '{sb}incarnation', 'id', 'count')
return {ended and 1 or 0, i[1] and i[1] .. '.' .. i[2] or ''}
