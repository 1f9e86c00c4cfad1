-- Posts other than messages, and messages that are not the next entry to file
-- for a member.

-- Notes a message that was filed for a member other than its sender.
local function keep_unheard(u, conversation, seq, locations)
  local user = match(u, 'u:(.*)$')
  local id = unheard_id(user, conversation, seq)
  if locations == '' then
    unheard[#unheard + 1] = id
  else
    local ids = doubtful[user] or {}
    doubtful[user] = ids
    ids[#ids + 1] = id
  end
end

-- Removes the sessions on a dead node, which did not hear of its users' events.
local function forget(node)
  for _, u in ipairs(told) do
    local bucket, user = match(u, '^{(%d+)}u:(.*)$')
    sweep(bucket, user, {[node] = true})
    if doubtful[user] and call('HGET', u, 's') == '' then
      for _, id in ipairs(doubtful[user]) do unheard[#unheard + 1] = id end
      doubtful[user] = nil
    end
  end
end

-- Files the entries before this one that a crash of the stepwise way has left
-- out.
local function close(tag, m, e, fs, fv)
  local r = call('HMGET', tag .. 'c:' .. e.conversation, 'lb', 'v')
  local lb, eb = tonumber(r[1]) or 0, (tonumber(r[2]) or 0) - call('LLEN', tag .. 'e:' .. e.conversation)
  local s, v = e.seq, e.version
  if e.kind == 'm' then s = s - 1 else v = v - 1 end
  local function one(kind, seq, version, entry, of)
    local time = entry_time(entry)
    local six = ''
    for _ = 1, 6 do six, time = char(time % 256) .. six, floor(time / 256) end
    local size = #entry < 16777215 and #entry or 16777215
    local three = char(floor(size / 65536), floor(size / 256) % 256, size % 256)
    local closed = {conversation = e.conversation, kind = kind, seq = seq, version = version,
      of = of, prefix = sub(entry .. '\0\0\0\0\0', 2, 5) .. six .. three}
    local by = entry_by(entry)
    local whose = {bucket = m.bucket, user = m.user, where = m.where, seq = m.seq, version = m.version,
      own = kind == 'm' and by == m.user}
    local status, _, locations = file(bounds, whose, closed, false)
    if status == 'filed' and kind == 'm' and bounds.unheard > 0 and by ~= m.user then
      keep_unheard('{' .. m.bucket .. '}u:' .. m.user, e.conversation, seq, locations)
    end
  end
  if fs < lb then fs = lb end
  if fv < eb then fv = eb end
  local function messages(upto, version)
    if upto <= fs then return end
    for _, entry in ipairs(call('LRANGE', tag .. 'l:' .. e.conversation, fs - lb, upto - lb - 1)) do
      fs = fs + 1
      one('m', fs, version, entry, 0)
    end
  end
  if v > fv then
    for _, change in ipairs(call('LRANGE', tag .. 'e:' .. e.conversation, fv - eb, v - eb - 1)) do
      local head, of, entry = match(change, '^(%d+):(%d+):(.*)$')
      -- A damaged change is skipped.
      if head then messages(tonumber(head), fv) end
      fv = fv + 1
      if head then one('c', tonumber(head), fv, entry, tonumber(of)) end
    end
  end
  messages(s, v)
end

-- Files an entry, and before it those that are missing. Returns what `file`
-- returns.
local function file_anyway(tag, m, e)
  local status, position, locations = file(bounds, m, e, true)
  if status ~= 'hole' then return status, position, locations end
  close(tag, m, e, position, locations)
  return file(bounds, m, e, false)
end

-- Files the present message for a member for whom entries before it may be
-- missing. Returns its position (0: none), and the locations unless it was
-- there already.
local function file_late(own, u, ref, since_seq, since_version)
  local bucket, user = match(u, '^{(%d+)}u:(.*)$')
  local m = {bucket = bucket, user = user, where = sub(ref, 14, 17), seq = tonumber(since_seq),
    version = tonumber(since_version), own = own}
  local e = {conversation = conversation, kind = 'm', seq = seq, version = tonumber(version), of = 0,
    prefix = sub(ref, 1, 13)}
  local status, position, locations = file_anyway(match(c, '^{%d+}'), m, e)
  return position, status == 'filed' and locations
end

-- Files and announces a change. Returns its position in the inbox of its
-- author.
local function file_for_all(p, members, e, entry)
  local tag, own_position, n = '{' .. p.bucket .. '}', 0, 0
  -- For each member of a direct conversation the bucket of the other one.
  local others = {0, 0}
  if p.group == false then
    local one, other = match(members, '^(%d+),[^;]+;(%d*)')
    others = {other == '' and one or other, one}
  end
  for bucket, user, s, v, left in string.gmatch(members, '(%d+),([^:]+):(%d+):(%d+);(l?)') do
    n, filings = n + 1, filings + 1
    local m = {bucket = bucket, user = user, where = struct.pack('>I2I2', p.bucket, others[n] or 0),
      seq = tonumber(s), version = tonumber(v), own = false, left = left == 'l' and e.last}
    local status, position, locations = file_anyway(tag, m, e)
    if user == p.by and position > 0 then own_position = position end
    if status == 'filed' and locations ~= '' then
      add_targets('{' .. bucket .. '}u:' .. user, '', position, locations)
    end
  end
  if reached > 0 then
    announce(e.conversation, '', '\26' .. varint(#entry), entry)
  end
  return own_position
end

-- When Redis refuses a command of a script, the commands before it stay. What
-- is left half done gets a note, as every post has in the stepwise way (see
-- `number.lua`). A repeat completes it, or a repair.
local function note_half(tag, name, more)
  local t = call('TIME')
  redis.pcall('HSET', tag .. 'p', name, now .. ' ' .. t[1] .. '.' .. t[2] .. (more or ''))
end

-- Leaves a note for the present message. Its targets are told when it is
-- completed.
local function leave_note()
  for n = 1, reached do targets[nodes[n]] = false end
  reached = 0
  if conversation then note_half(match(c, '^{%d+}'), conversation) end
end

-- Leaves notes for all posts of this call, which are filed but not announced.
local function leave_notes(from)
  at = from
  while at <= #ARGV do
    local kind = arg()
    if #kind > 1 then
      arg()
      local name, key = read_message(kind)
      note_half(match(key, '^{%d+}'), name)
    else
      local p = read_post(kind)
      note_half('{' .. p.bucket .. '}', p.conversation)
    end
  end
end

local function is_noted(tag, name) return redis.pcall('HEXISTS', tag .. 'p', name) ~= 0 end

-- Whether a message that was there already is filed for all its members, whose
-- records these are: 'repeat' or 'half'.
local function look_at_repeat(records, members)
  local n, since = 0, {}
  for s in string.gmatch(members, ':(%d+):%d+;') do
    n = n + 1
    since[n] = tonumber(s)
  end
  for k, r in ipairs(records) do
    local filed = r[3] and tonumber(match(r[3], '^%d+')) or since[k] or 0
    if filed < seq and (since[k] or 0) < seq then return 'half' end
  end
  return is_noted(match(c, '^{%d+}'), conversation) and 'half' or 'repeat'
end

-- The same for an amendment that changes nothing: 'same' or 'half same'.
local function look_at_same(p, members, head, version)
  local tag = '{' .. p.bucket .. '}'
  for bucket, user, s, v in string.gmatch(members, '(%d+),([^:]+):(%d+):(%d+);') do
    local filed = call('HGET', '{' .. bucket .. '}u:' .. user, 'f:' .. p.conversation)
    local fs, fv = match(filed or s .. ' ' .. v, '^(%d+) (%d+)')
    if tonumber(fs) < head and tonumber(s) < head or tonumber(fv) < version and tonumber(v) < version then
      return 'half same'
    end
  end
  return is_noted(tag, p.conversation) and 'half same' or 'same'
end

local function post_amendment(p)
  conversation, c = p.conversation, '{' .. p.bucket .. '}c:' .. p.conversation
  local status, head, version, members = number_amendment(p, bounds)
  if status == 'same' then status = look_at_same(p, members, head, version) end
  if status ~= 'ok' then return {status, p.seq, 0} end
  local own_position = file_for_all(p, members, {conversation = p.conversation, kind = 'c', seq = head,
    version = version + 1, of = p.seq, prefix = p.prefix}, p.entry)
  return string.format('%d %d', p.seq, own_position)
end

local function post_change(p)
  conversation, c = p.conversation, '{' .. p.bucket .. '}c:' .. p.conversation
  local status, head, version, members = number_change(p, bounds)
  if status ~= 'ok' then return {status, head, 0} end
  local own_position = 0
  local fine, why = pcall(function()
    for n, entry in ipairs(p.entries) do
      own_position = file_for_all(p, members, {conversation = p.conversation, kind = 'c', seq = head,
        version = version + n, of = 0, prefix = p.prefixes[n], last = n == #p.entries}, entry)
    end
  end)
  if not fine then
    local removed = removed_of(members)
    if removed ~= '' then
      note_half('{' .. p.bucket .. '}', p.conversation .. ' ' .. version + #p.entries, ' ' .. removed)
    end
    error(why)
  end
  return string.format('%d %d', head, own_position)
end

return {take_back = take_back, leave_note = leave_note, leave_notes = leave_notes, look_at_repeat = look_at_repeat,
  cut = cut, forget = forget, repeated = repeated, begin_day = begin_day,
  trim_log = trim_log, file_late = file_late, keep_unheard = keep_unheard, note_unheard = note_unheard,
  read_post = read_post, a = post_amendment, c = post_change}
