-- Renews a node's lease. ARGV: node, lease in ms, nonce (8 bytes), whether to
-- publish the nonce here ('1', where channels are not sharded). Returns whether
-- the lease had ended, the store's incarnation, and the count of the envelopes
-- that scripts have sent to the node (0 where channels are sharded); the
-- nonce's envelope has this count, too.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local node = ARGV[1]
local lease = redis.call('ZSCORE', '{sb}nodes', node)
local ended = not lease or tonumber(lease) < now
redis.call('ZADD', '{sb}nodes', now + ARGV[2], node)
local i = redis.call('HMGET', '{sb}incarnation', 'id', 'count')
local store = i[1] and i[1] .. '.' .. i[2] or ''
local count = 0
if ARGV[4] == '1' then
  count = tonumber(redis.call('HGET', '{sb}envelopes', node)) or 0
  local function varint(n)
    if n < 128 then return string.char(n) end
    return string.char(n % 128 + 128) .. varint(math.floor(n / 128))
  end
  local envelope = '\57' .. ARGV[3]
  if count > 0 then envelope = '\48' .. varint(count) .. envelope end
  if store ~= '' then envelope = '\10' .. varint(#store) .. store .. envelope end
  redis.call('PUBLISH', 'n:' .. node, envelope)
end
return {ended and 1 or 0, store, count}
