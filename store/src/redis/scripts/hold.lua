-- Makes a piece of work the caller's for some time, or prolongs that. ARGV: the key,
-- the caller's token, the time in ms. Returns whether it is the caller's.
local holder = redis.call('GET', ARGV[1])
if holder and holder ~= ARGV[2] then return {0} end
redis.call('SET', ARGV[1], ARGV[2], 'PX', ARGV[3])
return {1}
