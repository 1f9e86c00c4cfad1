-- Numbering a message: see `lib/number.lua` for what is stored.

-- `c`, `l` and `k` are the keys of the record, the log and (what they begin
-- with) the repeat keys; `name` is that of the repeat key, its maker and it with
-- a zero byte between; `by` is '' in a direct conversation. Returns the status
-- ('ok', 'repeat', 'no'), the seq, its text, the version's text, the members of a
-- group, and of a repeat the time of the entry that stands. With a group's
-- members `look` is called before anything is written.
local function number_message(c, l, k, name, by, time, entry, look)
  local r, members = nil, ''
  if by ~= '' then
    r = call('HMGET', c, 'lb', 'v', 'k', 'm')
    members = r[4] or ''
    if not find(members, ',' .. by .. ':', 1, true) then return 'no', 0, '0', '0', '', '0' end
    if look then look(members) end
  else
    r = call('HMGET', c, 'lb', 'v', 'k')
  end
  local version, days, keys = r[2] or '0', r[3], k .. today
  -- Seldom: there may be keys of the day before.
  if days and days ~= today then
    local seen = call('HGET', k .. yesterday, name)
    if seen then return rarely().repeated(seen, version, members) end
  end
  -- The entry goes first, so that the key is looked for and noted by one
  -- command: nobody sees what a script takes back.
  local len = call('RPUSH', l, entry)
  local seq = (r[1] or 0) + len
  local text = format('%d', seq)
  local noted = redis.pcall('HSETNX', keys, name, text .. ' ' .. time)
  if noted ~= 1 then
    rarely().take_back(l)
    if noted ~= 0 then error(noted) end
    return rarely().repeated(call('HGET', keys, name), version, members)
  end
  if days ~= today and days ~= both then call('HSET', c, 'k', rarely().begin_day(keys, days)) end
  -- As `beyond` looks: what is seldom needed need not be made for that.
  if len > bounds.log or len % 16 == 0 and entry_time(call('LINDEX', l, '0')) < bounds.oldest then
    rarely().trim_log(l, seq - len, len, tonumber(version), bounds)
  end
  return 'ok', seq, text, version, members
end
