-- Ends a node's lease. ARGV: node.
redis.call('ZREM', '{sb}nodes', ARGV[1])
redis.call('HDEL', '{sb}peers', ARGV[1])
return {}
