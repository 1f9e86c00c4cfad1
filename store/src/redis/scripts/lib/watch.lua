-- Who watches a user: the set `w:<user>` of nodes. It is gone when nobody has
-- asked and the user has not come for so many ms: 30 days.
local WATCH = 2592000000

-- How long ago the last session ended and who watches, of a user who is away.
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
