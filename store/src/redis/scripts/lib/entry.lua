-- What the scripts read of entries, and of a group's members.

-- Who wrote an entry: its third field.
local function entry_by(entry)
  local at = 6
  if byte(entry, at) == 16 then
    repeat at = at + 1 until (byte(entry, at) or 0) < 128
    at = at + 1
  end
  if byte(entry, at) ~= 26 then return '' end
  return sub(entry, at + 2, at + 1 + (byte(entry, at + 1) or 0))
end

-- How many of the oldest entries of a list are beyond the limits. `form` is a
-- pattern that finds the entry in an element of the list.
local function beyond(list, len, bounds, form)
  if len > bounds.messages + bounds.messages / 16 then return len - bounds.messages end
  if len % 16 ~= 0 then return 0 end
  local function is_old(entry) return entry_time(form and (match(entry, form) or '') or entry) < bounds.oldest end
  local first = call('LINDEX', list, '0')
  if not first or not is_old(first) then return 0 end
  local n = 0
  for _, entry in ipairs(call('LRANGE', list, 0, 31)) do
    if not is_old(entry) then break end
    n = n + 1
  end
  return n
end

local function is_member(members, user)
  if not members then return nil end
  return string.find(members, ',' .. user .. ':', 1, true)
end
