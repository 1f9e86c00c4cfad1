-- Ends a node's lease. ARGV: node.
redis.call('ZREM', '{sb}nodes', ARGV[1])
return {}
