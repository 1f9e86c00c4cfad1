-- Messages for members who had no session when they were filed, until they are
-- told by other means: the sorted set `{sb}unheard`, by the time in ms from
-- which one may be taken; each `user conversation seq`, the seq with its zeros
-- in front, so that those of one ms are in order.
local UNHEARD = '{sb}unheard'

local function unheard_id(user, conversation, seq)
  return string.format('%s %s %016d', user, conversation, seq)
end

-- What is there already stays as it is, perhaps held by a router. Returns how
-- many of the oldest were dropped, beyond `most`.
local function note_unheard(ids, now, most)
  for _, id in ipairs(ids) do redis.call('ZADD', UNHEARD, 'NX', now, id) end
  local over = redis.call('ZCARD', UNHEARD) - most
  if over <= 0 then return 0 end
  return redis.call('ZREMRANGEBYRANK', UNHEARD, 0, over - 1)
end
