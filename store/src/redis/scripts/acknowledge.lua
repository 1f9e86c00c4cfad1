-- Moves acknowledged positions. ARGV per item: bucket, user, position.
local results = {}
for at = 1, #ARGV, 3 do
  local tag, user = '{' .. ARGV[at] .. '}', ARGV[at + 1]
  move_position(tag .. 'u:' .. user, tag .. 'i:' .. user, tag .. 's:' .. user, ARGV[at + 2] + 0)
  results[#results + 1] = 1
end
return results
