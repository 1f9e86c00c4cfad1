-- Numbering a message: see `lib/number.lua` for what is stored.

-- `name` is that of the repeat key, `by` and it with a zero byte between.
-- Returns the status ('ok', 'repeat', 'no'), the seq, its text, the version's
-- text, the time of the entry that stands, and the members of a group. `one`
-- and `other` are the members of a direct conversation ('' of a group).
local function number_message(tag, conversation, by, name, time, entry, one, other, bounds)
  local c, r, members = tag .. 'c:' .. conversation, nil, ''
  if one == '' then
    r = call('HMGET', c, 'lb', 'v', 'k', 'm')
    members = r[4] or ''
    if not rarely().is_member(members, by) then return 'no', 0, '0', '0', '0', '' end
  else
    r = call('HMGET', c, 'lb', 'v', 'k')
    if by ~= one and by ~= other then return 'no', 0, '0', '0', '0', '' end
  end
  local base, version = r[1] and tonumber(r[1]) or 0, r[2] or '0'
  local days, k = r[3], tag .. 'k:' .. conversation .. ':'
  local seen = find_repeat(k, name, days)
  if seen then
    local seq, first = match(seen, '^(%d+) (%d+)')
    return 'repeat', tonumber(seq), seq, version, first, members
  end
  local len = call('RPUSH', tag .. 'l:' .. conversation, entry)
  local seq = base + len
  local text = format('%d', seq)
  days = note_repeat(k, name, text .. ' ' .. time, days)
  if days then call('HSET', c, 'k', days) end
  if len % 16 == 0 or len > bounds.messages then
    rarely().trim_log(tag, conversation, base, len, tonumber(version), bounds)
  end
  return 'ok', seq, text, version, time, members
end
