-- The acknowledged position of an inbox: the field `a` of the user's record.

-- Moves it forward. A position beyond the head comes from a history that was
-- lost: it is not set, and what is there of it gives way.
local function move_position(u, i, s, position)
  local old, base = tonumber(redis.call('HGET', u, 'a') or '0'), sessions_of(s)
  local head = base + redis.call('LLEN', i)
  if position <= head and (position > old or old > head) then redis.call('HSET', u, 'a', position) end
end
