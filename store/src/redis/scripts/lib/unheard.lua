-- Messages for members who had no session when they were filed: the sorted set
-- `{sb}unheard`, by the time in ms from which one may be taken. A member is
-- `user conversation seq`; the seq has leading zeros, so that messages of the
-- same ms are in order.
local UNHEARD = '{sb}unheard'

local function unheard_id(user, conversation, seq)
  return string.format('%s %s %016d', user, conversation, seq)
end

-- Adds messages. One that is there already stays as it is: a router may hold
-- it. Returns how many of the oldest were dropped, beyond `most`.
local function note_unheard(ids, now, most)
  for _, id in ipairs(ids) do redis.call('ZADD', UNHEARD, 'NX', now, id) end
  local over = redis.call('ZCARD', UNHEARD) - most
  if over <= 0 then return 0 end
  return redis.call('ZREMRANGEBYRANK', UNHEARD, 0, over - 1)
end
