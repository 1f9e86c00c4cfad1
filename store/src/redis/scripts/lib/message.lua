-- Numbers a message: see `lib/number.lua` for what is stored.

-- The hash with the repeat key of the present message, once it is appended. What
-- a refused command then leaves half done, the caller takes back or has noted.
local appended

-- `c` and `l` are the keys of the record and the log, `k` is the beginning of
-- the keys of the repeat keys' hashes. `name` is the repeat key after its user
-- and a zero byte. `by` is '' in a direct conversation. Returns the status
-- ('ok', 'repeat', 'no', 'forbidden'), the seq, the seq as a text, the version as a text,
-- the members of a group, and for a repeat the time of the stored entry. `look`
-- is called with a group's members and the sender before anything is written.
local function number_message(c, l, k, name, by, time, entry, look)
  local r, members = nil, ''
  if by ~= '' then
    r = call('HMGET', c, 'lb', 'v', 'k', 'm', 'roles')
    members = r[4] or ''
    if not find(members, ',' .. by .. ':', 1, true) then return 'no', 0, '0', '0', '', '0' end
    if look then look(members, by) end
  else
    r = call('HMGET', c, 'lb', 'v', 'k')
  end
  local version, days, keys = r[2] or '0', r[3], k .. today
  -- A reader may have written before it was one.
  if r[5] and find(r[5], ',' .. by .. ':r', 1, true) then
    local seen = call('HGET', keys, name) or call('HGET', k .. yesterday, name)
    if seen then return on_demand().repeated(seen, version, members) end
    return 'forbidden', 0, '0', '0', '', '0'
  end
  -- Rare: there may be keys of the day before.
  if days and days ~= today then
    local seen = call('HGET', k .. yesterday, name)
    if seen then return on_demand().repeated(seen, version, members) end
  end
  -- The entry is appended first, so that one command both finds and sets the
  -- key. If it was there, the entry is taken back, which nobody sees.
  local len = call('RPUSH', l, entry)
  local seq = (r[1] or 0) + len
  local text = format('%d', seq)
  local noted = redis.pcall('HSETNX', keys, name, text .. ' ' .. time)
  if noted ~= 1 then
    on_demand().take_back(l)
    if noted ~= 0 then error(noted) end
    return on_demand().repeated(call('HGET', keys, name), version, members)
  end
  appended = keys
  -- The second message lets the first one go, once it is old (`lib/archive.lua`).
  if len == 2 then call('ZADD', match(l, '^{%d+}') .. 'g', 'NX', time, match(l, ':(.*)$')) end
  if days ~= today and days ~= both then call('HSET', c, 'k', on_demand().begin_day(keys, days)) end
  -- The same check as in `beyond`, which is only made on demand.
  if len > bounds.log or len % 16 == 0 and entry_time(call('LINDEX', l, '0')) < bounds.oldest then
    on_demand().trim_log(l, seq - len, len, tonumber(version), bounds)
  end
  return 'ok', seq, text, version, members
end
