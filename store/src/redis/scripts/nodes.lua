-- The nodes whose lease is valid. Removes those whose lease ended more than a
-- minute ago.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
for _, node in ipairs(redis.call('ZRANGEBYSCORE', '{sb}nodes', '-inf', now - 60000)) do
  redis.call('ZREM', '{sb}nodes', node)
  redis.call('HDEL', '{sb}peers', node)
end
return redis.call('ZRANGEBYSCORE', '{sb}nodes', '(' .. now, '+inf')
