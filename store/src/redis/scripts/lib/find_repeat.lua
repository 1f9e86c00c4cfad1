-- What was written under this repeat key within a day. `k` is what the keys of
-- the hashes begin with, `days` what the record says of them, if it does.
local function find_repeat(k, name, days)
  local seen = call('HGET', k .. today, name)
  if seen or days == today then return seen end
  return call('HGET', k .. yesterday, name)
end

-- Today's hash is new. Returns what the record is to say.
local function begin_day(k, days)
  call('EXPIRE', k, '180000')
  -- Also where the clock was set back.
  return days and tonumber(match(days, '^%d+')) >= day - 1 and both or today
end
