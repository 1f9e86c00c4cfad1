-- The caller no longer has a piece of work. ARGV: the key, the caller's token.
if redis.call('GET', ARGV[1]) == ARGV[2] then redis.call('DEL', ARGV[1]) end
return {1}
