-- Adds nodes to channels' audiences. ARGV: age, then per item bucket, channel,
-- node. Returns per item the head, and the other nodes.
local oldest = now_ms() - tonumber(ARGV[1])
local results = {}
for at = 2, #ARGV, 3 do
  local ch = open_channel(ARGV[at], ARGV[at + 1], oldest)
  local others = {}
  for _, node in ipairs(call('SMEMBERS', ch.o)) do
    if node ~= ARGV[at + 2] then others[#others + 1] = node end
  end
  call('SADD', ch.o, ARGV[at + 2])
  results[#results + 1] = {ch.head, others}
end
return results
