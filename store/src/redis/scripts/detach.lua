-- Ends sessions. ARGV per item: bucket, user, session. Returns per item whether
-- it was there, the locations that are left, and whether a node watches the
-- user.
local results = {}
for at = 1, #ARGV, 3 do
  local bucket, user, ended = unpack(ARGV, at, at + 2)
  local gone, left = remove_locations(bucket, user, 0, function(session) return session == ended end)
  local watched = gone and redis.call('EXISTS', '{' .. bucket .. '}w:' .. user) or 0
  results[#results + 1] = {gone and 1 or 0, left, watched}
end
return results
