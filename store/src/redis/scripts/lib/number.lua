-- Numbering: appends to a conversation's log (messages) or to its list of
-- changes. The record `c:` holds the trimmed counts `lb` and `eb`, and of a
-- group `name`, `owner` and `m`, its members in the order of joining, each
-- `bucket,user:seq:version;` with what they see after.
local find = string.find

-- Of an entry: the fingerprint is its first field, the time its second.
local function entry_time(entry)
  if byte(entry, 6) ~= 16 then return 0 end
  local time, unit, at, x = 0, 1, 7
  repeat
    x = byte(entry, at)
    time, unit, at = time + x % 128 * unit, unit * 128, at + 1
  until x < 128
  return time
end

local function trim_log(c, l, base, len, bounds)
  local n = 0
  if len > bounds.messages + bounds.messages / 16 then
    n = len - bounds.messages
  elseif len % 16 == 0 then
    for _, entry in ipairs(call('LRANGE', l, 0, 31)) do
      if entry_time(entry) >= bounds.oldest then break end
      n = n + 1
    end
  end
  if n == 0 then return end
  call('LTRIM', l, n, -1)
  call('HSET', c, 'lb', base + n)
end

local function is_member(members, user)
  if not members then return nil end
  return find(members, ',' .. user .. ':', 1, true)
end

-- Returns the status ('ok', 'repeat', 'no'), the pair, the time of the entry
-- that stands, and the members of a group.
local function number_message(p, bounds)
  local tag = '{' .. p.bucket .. '}'
  local c, l = tag .. 'c:' .. p.conversation, tag .. 'l:' .. p.conversation
  local r = call('HMGET', c, 'lb', 'eb', 'm')
  local base, version = tonumber(r[1]) or 0, 0
  if not is_member(p.group and r[3] or p.members, p.by) then return 'no', 0, 0, 0, '' end
  if p.group then
    version = (tonumber(r[2]) or 0) + call('LLEN', tag .. 'e:' .. p.conversation)
  end
  local day = floor(bounds.now / 86400000)
  local k, field = tag .. 'k:' .. p.conversation .. ':', p.by .. '\0' .. p.key
  local seen = call('HGET', k .. day, field) or call('HGET', k .. day - 1, field)
  if seen then
    local seq, time = match(seen, '^(%d+) (%d+)')
    return 'repeat', tonumber(seq), version, tonumber(time), r[3] or ''
  end
  local len = call('RPUSH', l, p.entry)
  local seq = base + len
  call('HSET', k .. day, field, seq .. ' ' .. p.time)
  if call('HLEN', k .. day) == 1 then call('EXPIRE', k .. day, 180000) end
  trim_log(c, l, base, len, bounds)
  return 'ok', seq, version, tonumber(p.time), r[3] or ''
end

-- Returns the status ('ok', 'stale', 'no'), the head, the version before the
-- change, and the members before or after it: those who are in it no longer
-- with ';l' in the place of ';'.
local function number_change(p, bounds)
  local tag = '{' .. p.bucket .. '}'
  local c, e = tag .. 'c:' .. p.conversation, tag .. 'e:' .. p.conversation
  local r = call('HMGET', c, 'lb', 'eb', 'm')
  local version = (tonumber(r[2]) or 0) + call('LLEN', e)
  local before = r[3] or ''
  if p.expect ~= 0 and not is_member(before, p.by) then return 'no', 0, 0, '' end
  if p.expect ~= version then return 'stale', 0, 0, '' end
  local head = (tonumber(r[1]) or 0) + call('LLEN', tag .. 'l:' .. p.conversation)
  local remove = {}
  for _, user in ipairs(p.remove) do remove[user] = true end
  local after, all = {}, {}
  for bucket, user, s, v in string.gmatch(before, '(%d+),([^:]+):(%d+):(%d+);') do
    local member = bucket .. ',' .. user .. ':' .. s .. ':' .. v .. ';'
    if remove[user] then
      all[#all + 1] = member .. 'l'
    else
      after[#after + 1], all[#all + 1] = member, member
    end
  end
  for n, user in ipairs(p.add) do
    if not is_member(before, user) then
      local member = p.add_buckets[n] .. ',' .. user .. ':' .. head .. ':' .. version .. ';'
      after[#after + 1], all[#all + 1] = member, member
    end
  end
  after = table.concat(after)
  call('HSET', c, 'm', after)
  if p.name then call('HSET', c, 'name', p.name) end
  if p.owner then call('HSET', c, 'owner', p.owner) end
  local len
  for _, entry in ipairs(p.entries) do len = call('RPUSH', e, head .. ':' .. entry) end
  if len > bounds.messages + bounds.messages / 16 then
    call('LTRIM', e, len - bounds.messages, -1)
    call('HINCRBY', c, 'eb', len - bounds.messages)
  end
  if after == '' then
    -- Gone, but the inboxes of those who were in it still refer to it.
    for _, list in ipairs({'c:', 'l:', 'e:'}) do
      call('PEXPIRE', tag .. list .. p.conversation, bounds.age)
    end
  end
  return 'ok', head, version, table.concat(all)
end
