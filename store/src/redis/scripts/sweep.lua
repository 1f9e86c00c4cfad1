-- Removes the locations of dead nodes, and no others. ARGV per item: bucket,
-- user, nodes joined by ';'.
local results = {}
for at = 1, #ARGV, 3 do
  local dead = {}
  for node in string.gmatch(ARGV[at + 2], '[^;]+') do dead[node] = true end
  remove_locations(ARGV[at], ARGV[at + 1], LEASE, function(_, node) return dead[node] end)
  results[#results + 1] = 1
end
return results
