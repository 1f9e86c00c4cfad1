-- Removes the locations of dead nodes. ARGV per item: bucket, user, nodes
-- joined by ';'.
local results = {}
for at = 1, #ARGV, 3 do
  local dead = {}
  for node in string.gmatch(ARGV[at + 2], '[^;]+') do dead[node] = true end
  sweep(ARGV[at], ARGV[at + 1], dead)
  results[#results + 1] = 1
end
return results
