-- The time of the last note on a single server, in µs, in `{sb}noted`. Each
-- note is later than all others, even if the clock was set back, so that pages
-- have clear ends.
local t = call('TIME')
local now = t[1] * 1000000 + t[2]
local noted, last = now, call('GET', '{sb}noted')
if last and tonumber(last) > noted then noted = tonumber(last) end
local first = noted

-- Notes for one user that a conversation's marks change. `m` is the key.
-- Returns whether the conversation is new there.
local function note_next(m, conversation)
  noted = noted + 1
  if call('ZADD', m, format('%d', noted), conversation) == 0 then return false end
  on_demand().limit_notes(m, now, bounds.age)
  return true
end

-- Stores the time of the last note; called at the end of a script.
local function keep_clock()
  if noted > first then call('SET', '{sb}noted', format('%d', noted)) end
end
