-- Who watches a user: the set `w:<user>` of nodes. It expires when for this
-- many ms (30 days) nobody asks and the user does not come.
local WATCH = 2592000000

-- For a user who is away: when the last session ended, how long ago that is,
-- and who watches.
local function absence(bucket, user)
  local tag = '{' .. bucket .. '}'
  local ended = redis.call('HGET', tag .. 'u:' .. user, 'e')
  local watchers = redis.call('SMEMBERS', tag .. 'w:' .. user)
  if not ended then return {}, watchers end
  local t = redis.call('TIME')
  local ago = t[1] * 1000 + math.floor(t[2] / 1000) - tonumber(ended)
  if ago < 0 then ago = 0 end
  return {tonumber(ended), ago}, watchers
end
