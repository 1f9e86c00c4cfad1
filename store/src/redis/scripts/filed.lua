-- Up to where conversations are filed. ARGV per item: bucket, user,
-- conversation. Returns per item the seq and the version.
local results = {}
for at = 1, #ARGV, 3 do
  local box, conversation = inbox_of('{' .. ARGV[at] .. '}', ARGV[at + 1]), ARGV[at + 2]
  local r = call('HMGET', box.u, 'n', 'f:' .. conversation)
  local seq, version = match(r[2] or '0 0', '^(%d+) (%d+)')
  local newest = newest_messages(box, noted_in(box, r[1]), box.head)[conversation]
  results[#results + 1] = {newest and newest.seq or seq, version}
end
return results
