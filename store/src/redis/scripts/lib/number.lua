-- Numbering: appends to a conversation's log `l:` (messages) or to its list of
-- changes `e:` (of the group, and of messages), each `head:seq:entry` with the
-- head that it came after and the seq of the message that it amends (0: none).
-- The record `c:` holds how many messages were trimmed as `lb`, how many
-- changes there ever were as `v` (the version), and of a group `g`, how many of
-- those were of the group itself, `name`, `owner` and `m`, its members in the
-- order of joining, each `bucket,user:seq:version;` with what they see after;
-- and as `k` the last day of which there are repeat keys, with '+' behind it if
-- there are some of the day before.

local function trim_log(l, base, len, version, bounds)
  local tag, conversation = match(l, '^({%d+})l:(.*)$')
  local n = beyond(l, len, bounds)
  if n == 0 then return end
  call('LTRIM', l, n, -1)
  call('HSET', tag .. 'c:' .. conversation, 'lb', base + n)
  if version > 0 then forget_states(tag, conversation, base + n) end
end

-- Appends to the list of changes.
local function append_changes(e, head, seq, entries, bounds)
  local len
  for _, entry in ipairs(entries) do len = call('RPUSH', e, head .. ':' .. seq .. ':' .. entry) end
  local n = beyond(e, len, bounds, '^%d+:%d+:(.*)$')
  if n > 0 then call('LTRIM', e, n, -1) end
end

-- Returns the status ('ok', 'stale', 'no'), the head, the version before the
-- change, and the members before or after it: those who are in it no longer
-- with ';l' in the place of ';'.
local function number_change(p, bounds)
  local tag = '{' .. p.bucket .. '}'
  local c, e = tag .. 'c:' .. p.conversation, tag .. 'e:' .. p.conversation
  local r = call('HMGET', c, 'lb', 'v', 'm', 'g')
  local version, own = tonumber(r[2]) or 0, tonumber(r[4]) or 0
  local before = r[3] or ''
  if p.expect ~= 0 and not is_member(before, p.by) then return 'no', 0, 0, '' end
  if p.expect ~= own then return 'stale', 0, 0, '' end
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
  call('HSET', c, 'm', after, 'v', version + #p.entries, 'g', own + #p.entries)
  if p.name then call('HSET', c, 'name', p.name) end
  if p.owner then call('HSET', c, 'owner', p.owner) end
  append_changes(e, head, 0, p.entries, bounds)
  if after == '' then
    -- Gone, but the inboxes of those who were in it still refer to it.
    for _, list in ipairs({'c:', 'l:', 'e:'}) do
      call('PEXPIRE', tag .. list .. p.conversation, bounds.age)
    end
    expire_states(tag, p.conversation, bounds.age)
  end
  return 'ok', head, version, table.concat(all)
end

-- Returns the status ('no', 'none' for no such message, 'forbidden', or what
-- `amend` does), the head, the version before it, and the members.
local function number_amendment(p, bounds)
  local tag = '{' .. p.bucket .. '}'
  local c, l = tag .. 'c:' .. p.conversation, tag .. 'l:' .. p.conversation
  local r = call('HMGET', c, 'lb', 'v', 'm', 'owner', 'k')
  local members = p.group and r[3] or p.members
  local there, last = is_member(members, p.by)
  if not there then return 'no', 0, 0, '' end
  local base, version = tonumber(r[1]) or 0, tonumber(r[2]) or 0
  local head = base + call('LLEN', l)
  local since = tonumber(match(members, '^(%d+)', last + 1))
  if p.seq <= base or p.seq > head or p.seq <= since then return 'none', 0, 0, '' end
  if p.who ~= '*' and not (p.who == 'o' and r[4] == p.by)
    and entry_by(call('LINDEX', l, p.seq - base - 1)) ~= p.by then
    return 'forbidden', 0, 0, ''
  end
  local k = tag .. 'k:' .. p.conversation .. ':'
  local name = p.what == 'e' and p.by .. '\0' .. p.seq .. '\0' .. p.key
  local status = amend(tag, p, version, bounds, name and find_repeat(k, name, r[5]))
  if status == 'ok' then
    local days = name and note_repeat(k, name, p.seq .. ' ' .. p.time, r[5])
    if days then call('HSET', c, 'k', days) end
    call('HSET', c, 'v', version + 1)
    append_changes(tag .. 'e:' .. p.conversation, head, p.seq, {p.entry}, bounds)
  end
  return status, head, version, members
end
