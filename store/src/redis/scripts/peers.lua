-- Where the nodes with a valid lease are reached. Returns node, address, node,
-- address, ..., those whose lease was renewed last at the end.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local result = {}
for _, node in ipairs(redis.call('ZRANGEBYSCORE', '{sb}nodes', '(' .. now, '+inf')) do
  local address = redis.call('HGET', '{sb}peers', node)
  if address then
    result[#result + 1] = node
    result[#result + 1] = address
  end
end
return result
