-- Removes messages that were reported. ARGV: ids. Returns how many wait.
for _, id in ipairs(ARGV) do redis.call('ZREM', UNHEARD, id) end
return {redis.call('ZCARD', UNHEARD)}
