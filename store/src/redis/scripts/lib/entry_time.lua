-- The time of an entry: its second field, after the fingerprint.
local function entry_time(entry)
  if byte(entry, 6) ~= 16 then return 0 end
  local time, unit, at, x = 0, 1, 7
  repeat
    x = byte(entry, at) or 0   -- the entry is damaged
    time, unit, at = time + x % 128 * unit, unit * 128, at + 1
  until x < 128
  return time
end
