-- The acknowledged position of an inbox: the field `a` of the user's record.

-- Moves it forward. A position beyond the head comes from a history that was
-- lost: it is not set, and what is there of it gives way.
local function move_position(u, i, position)
  local r = redis.call('HMGET', u, 'a', 'b')
  local old, base = tonumber(r[1]) or 0, r[2] and tonumber(string.match(r[2], '^%d+')) or 0
  local head = base + redis.call('LLEN', i)
  if position <= head and (position > old or old > head) then redis.call('HSET', u, 'a', position) end
end
