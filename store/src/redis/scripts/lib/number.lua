-- Numbering: appends to a conversation's log `l:` (messages), or to its list of
-- changes `e:` (of the group, and amendments), each as `head:seq:entry` with
-- the head at that time and the seq of the message that it amends (0: none).
--
-- The record `c:` has: `lb`, how many messages were trimmed; with an archive `lg`
-- and `eg` (`lib/archive.lua`); `v`, the version,
-- which counts all changes ever; and `k`, the last day that has repeat keys,
-- with '+' after it if the day before has some, too. For a group also: `g`, how
-- many changes were of the group itself; `name`; `owner`; `roles` (`,user:a` for an
-- admin, `,user:r` for a reader, one after the other); and `m`, its members in the
-- order of joining, each as `bucket,user:seq:version;` with the seq and
-- version after which they see it.

local function trim_log(l, base, len, version, bounds)
  local tag, conversation = match(l, '^({%d+})l:(.*)$')
  local n = beyond(l, len, bounds)
  if n == 0 then return end
  cut_list(l, n, field_step(tag .. 'c:' .. conversation, 'lb', base, base + n))
  if version > 0 then forget_states(tag, conversation, base + n) end
end

-- The step that says that a conversation has a change to archive.
local function to_be_archived(tag, conversation)
  return {'ZADD', tag .. 'g', 'NX', format('%d', now), conversation}
end

-- The steps that append to the list of changes.
local function append_changes(steps, e, head, seq, entries)
  for _, entry in ipairs(entries) do
    steps[#steps + 1] = {'RPUSH', e, head .. ':' .. seq .. ':' .. entry, back = function() take_back(e) end}
  end
end

-- Trims the list of changes; `len` is its length after appending.
local function trim_changes(e, len, bounds)
  local n = beyond(e, len, bounds, '^%d+:%d+:(.*)$')
  if n > 0 then call('LTRIM', e, n, -1) end
end

-- Those of the members whom a change removes.
local function removed_of(members)
  local removed = {}
  for member in string.gmatch(members, '([^;]+);l') do removed[#removed + 1] = member .. ';' end
  return table.concat(removed)
end

-- Numbers a change of a group. Returns the status ('ok', 'stale', 'no'), the
-- head, the version before the change, and the members before or after it;
-- those who are removed have ';l' instead of ';'. With `p.note` (a key, and the
-- beginning of a value) the removed members are noted there.
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
  all = table.concat(all)
  local steps = {to_be_archived(tag, p.conversation)}
  append_changes(steps, e, head, 0, p.entries)
  local appended = steps[#steps]
  if p.note then
    table.insert(steps, 1, field_step(p.note[1], p.conversation .. ' ' .. version + #p.entries, nil,
      p.note[2] .. removed_of(all)))
  end
  local record = {'HSET', c, 'm', after, 'v', version + #p.entries, 'g', own + #p.entries}
  local function say(field, value)
    if value then record[#record + 1], record[#record + 2] = field, value end
  end
  say('name', p.name)
  say('owner', p.owner)
  say('roles', p.roles)
  steps[#steps + 1] = record
  write_all(steps)
  trim_changes(e, appended.answer, bounds)
  if after == '' then
    -- The group is gone, but inboxes of former members still refer to it.
    for _, list in ipairs({'c:', 'l:', 'e:'}) do
      call('PEXPIRE', tag .. list .. p.conversation, bounds.age)
    end
    expire_states(tag, p.conversation, bounds.age)
  end
  return 'ok', head, version, all
end

-- Numbers an amendment. Returns the status ('no'; 'none' for no such message;
-- 'forbidden'; 'archived' where the message's sender has to be known, and only the
-- archive has the message; or what `amend` returns), the head, the version before
-- it, and the members.
local function number_amendment(p, bounds)
  local tag = '{' .. p.bucket .. '}'
  local c, l = tag .. 'c:' .. p.conversation, tag .. 'l:' .. p.conversation
  local r = call('HMGET', c, 'lb', 'v', 'm', 'owner', 'k', 'lg', 'roles')
  local members = p.group and r[3] or p.members
  local there, last = is_member(members, p.by)
  if not there then return 'no', 0, 0, '' end
  local base, version = tonumber(r[1]) or 0, tonumber(r[2]) or 0
  local head = base + call('LLEN', l)
  local since = tonumber(match(members, '^(%d+)', last + 1))
  if p.seq <= (tonumber(r[6]) or base) or p.seq > head or p.seq <= since then return 'none', 0, 0, '' end
  local k = tag .. 'k:' .. p.conversation .. ':'
  local name = p.what == 'e' and p.by .. '\0' .. p.seq .. '\0' .. p.key
  local is_repeat = name and find_repeat(k, name, r[5])
  -- A reader takes back what it wrote before, and nothing else.
  if p.what ~= 'x' and not is_repeat and has_role(r[7], p.by, 'r') then return 'forbidden', 0, 0, '' end
  if p.who ~= '*' and not (p.who == 'o' and (r[4] == p.by or has_role(r[7], p.by, 'a'))) then
    local sender = p.seq > base and entry_by(call('LINDEX', l, p.seq - base - 1)) or p.sender
    if sender == '' and p.seq <= base then return 'archived', 0, 0, '' end
    if sender ~= p.by then return 'forbidden', 0, 0, '' end
  end
  local status, write = amend(tag, p, version, bounds, is_repeat)
  if status == 'ok' then
    local e = tag .. 'e:' .. p.conversation
    -- First what means nothing by itself, last what a repeat looks for.
    local steps = {{'ZADD', tag .. 'z:' .. p.conversation, p.seq, p.seq}, to_be_archived(tag, p.conversation)}
    append_changes(steps, e, head, p.seq, {p.entry})
    local appended = steps[3]
    steps[4] = field_step(c, 'v', r[2], version + 1)
    if name then steps[5] = field_step(k .. today, name, nil, p.seq .. ' ' .. p.time) end
    steps[#steps + 1] = write
    write_all(steps)
    if name and r[5] ~= today and r[5] ~= both then call('HSET', c, 'k', begin_day(k .. today, r[5])) end
    trim_changes(e, appended.answer, bounds)
  end
  return status, head, version, members
end
