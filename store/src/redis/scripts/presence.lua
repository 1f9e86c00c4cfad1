-- The presence of users. ARGV: a node that watches them from now on ('' for
-- none), then per item bucket, user. Returns per item the time in ms, the
-- locations, when the last session ended and how long ago that is (empty if
-- there never was one), and the nodes that watch.
local watcher = ARGV[1]
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local results = {}
for at = 2, #ARGV, 2 do
  local bucket, user = ARGV[at], ARGV[at + 1]
  local tag = '{' .. bucket .. '}'
  local w = tag .. 'w:' .. user
  if watcher ~= '' then
    redis.call('SADD', w, watcher)
    redis.call('PEXPIRE', w, WATCH)
  end
  local _, _, locations = sessions_of(tag .. 's:' .. user)
  results[#results + 1] = {now, locations, absence(bucket, user)}
end
return results
