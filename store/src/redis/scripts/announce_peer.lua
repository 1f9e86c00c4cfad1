-- Writes where a node is reached. ARGV: node, address. It is removed with the
-- node's lease.
redis.call('HSET', '{sb}peers', ARGV[1], ARGV[2])
return {}
