-- What was written with this repeat key within a day. `k` is the beginning of
-- the keys of the hashes; `days` is the record's field `k`, or nil.
local function find_repeat(k, name, days)
  local seen = call('HGET', k .. today, name)
  if seen or days == today then return seen end
  return call('HGET', k .. yesterday, name)
end

-- Sets the expiry of today's hash, which is new. Returns the new value of the
-- record's field `k`.
local function begin_day(k, days)
  call('EXPIRE', k, '180000')
  -- True also when the clock was set back.
  return days and tonumber(match(days, '^%d+')) >= day - 1 and both or today
end
