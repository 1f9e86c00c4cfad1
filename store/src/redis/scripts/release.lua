-- Ends a node's lease. ARGV: node.
redis.call('ZREM', '{sb}nodes', ARGV[1])
redis.call('HDEL', '{sb}envelopes', ARGV[1])
return {}
