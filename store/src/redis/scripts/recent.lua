-- The conversations with messages after the checkpoint of a user's record. ARGV
-- per item: bucket, user. Returns per item each conversation and the position of
-- its newest message, one after the other.
local results = {}
for at = 1, #ARGV, 2 do
  local box, row = inbox_of('{' .. ARGV[at] .. '}', ARGV[at + 1]), {}
  for conversation, newest in pairs(newest_messages(box, noted_in(box, call('HGET', box.u, 'n')), box.head)) do
    row[#row + 1], row[#row + 2] = conversation, newest.position
  end
  results[#results + 1] = row
end
return results
