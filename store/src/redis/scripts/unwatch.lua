-- Ends the watching of users. ARGV: the nodes joined by ';', then per item
-- bucket, user.
local results = {}
for at = 2, #ARGV, 2 do
  for node in string.gmatch(ARGV[1], '[^;]+') do
    redis.call('SREM', '{' .. ARGV[at] .. '}w:' .. ARGV[at + 1], node)
  end
  results[#results + 1] = 1
end
return results
