-- The time of the last note on a single server, in µs, in `{sb}noted`. Each
-- note is later than all others, even if the clock was set back, so that pages
-- have clear ends.
local t = call('TIME')
local now = t[1] * 1000000 + t[2]
-- Read before the first note of a call.
local noted

-- Notes for one user that a conversation's marks change. `m` is the key.
-- Returns whether the conversation is new there.
local function note_next(m, conversation)
  if not noted then noted = math.max(now, (call('GET', '{sb}noted') or 0) + 0) end
  noted = noted + 1
  if call('ZADD', m, format('%d', noted), conversation) == 0 then return false end
  limit_notes(m, now, bounds.age)
  return true
end

-- Stores the time of the last note; called at the end of a script.
local function keep_clock()
  if noted then call('SET', '{sb}noted', format('%d', noted)) end
end
