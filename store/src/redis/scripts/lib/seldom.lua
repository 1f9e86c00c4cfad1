-- Posts other than messages, and messages that do not come next.

-- Notes a message that was filed for another than its sender.
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

-- A node that is dead did not hear of its users' events.
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

-- Files what a crash of the other way (step by step) has left out, up to but
-- not including this entry.
local function close(tag, m, e, fs, fv)
  local r = call('HMGET', tag .. 'c:' .. e.conversation, 'lb', 'v')
  local lb, eb = tonumber(r[1]) or 0, (tonumber(r[2]) or 0) - call('LLEN', tag .. 'e:' .. e.conversation)
  local s, v = e.seq, e.version
  if e.kind == 'm' then s = s - 1 else v = v - 1 end
  local function one(kind, seq, version, entry, of)
    local time = entry_time(entry)
    local six = ''
    for _ = 1, 6 do six, time = char(time % 256) .. six, floor(time / 256) end
    local closed = {conversation = e.conversation, kind = kind, seq = seq, version = version,
      of = of, prefix = sub(entry, 2, 5) .. six}
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
      messages(tonumber(head), fv)
      fv = fv + 1
      one('c', tonumber(head), fv, entry, tonumber(of))
    end
  end
  messages(s, v)
end

-- Files an entry that may not come next; as `file` does.
local function file_anyway(tag, m, e)
  local status, position, locations = file(bounds, m, e, true)
  if status ~= 'hole' then return status, position, locations end
  close(tag, m, e, position, locations)
  return file(bounds, m, e, false)
end

-- Files the message at hand for a member for whom it may not come next. Returns
-- its position (0: none), and the locations unless it was there already.
local function file_late(own, u, ref, since_seq, since_version)
  local bucket, user = match(u, '^{(%d+)}u:(.*)$')
  local m = {bucket = bucket, user = user, where = sub(ref, 11, 14), seq = tonumber(since_seq),
    version = tonumber(since_version), own = own}
  local e = {conversation = conversation, kind = 'm', seq = seq, version = tonumber(version), of = 0,
    prefix = sub(ref, 1, 10)}
  local status, position, locations = file_anyway(match(c, '^{%d+}'), m, e)
  return position, status == 'filed' and locations
end

-- Files and announces a change. Returns its place in the inbox of its maker.
local function file_for_all(p, members, e, entry)
  local tag, place, n = '{' .. p.bucket .. '}', 0, 0
  -- The other's bucket, of each member of a direct conversation.
  local others = {0, 0}
  if p.group == false then
    local one, other = match(members, '^(%d+),[^;]+;(%d*)')
    others = {other == '' and one or other, one}
  end
  for bucket, user, s, v, left in string.gmatch(members, '(%d+),([^:]+):(%d+):(%d+);(l?)') do
    n = n + 1
    local m = {bucket = bucket, user = user, where = struct.pack('>I2I2', p.bucket, others[n] or 0),
      seq = tonumber(s), version = tonumber(v), own = false, left = left == 'l' and e.last}
    local status, position, locations = file_anyway(tag, m, e)
    if user == p.by and position > 0 then place = position end
    if status == 'filed' and locations ~= '' then
      add_targets('{' .. bucket .. '}u:' .. user, '', position, locations)
    end
  end
  if reached > 0 then
    announce(e.conversation, '', '\26' .. varint(#entry), entry)
  end
  return place
end

local function post_amendment(p)
  local status, head, version, members = number_amendment(p, bounds)
  if status ~= 'ok' then return {status, p.seq, 0} end
  local place = file_for_all(p, members, {conversation = p.conversation, kind = 'c', seq = head,
    version = version + 1, of = p.seq, prefix = p.prefix}, p.entry)
  return string.format('%d %d', p.seq, place)
end

local function post_change(p)
  local status, head, version, members = number_change(p, bounds)
  if status ~= 'ok' then return {status, head, 0} end
  local place = 0
  for n, entry in ipairs(p.entries) do
    place = file_for_all(p, members, {conversation = p.conversation, kind = 'c', seq = head,
      version = version + n, of = 0, prefix = p.prefixes[n], last = n == #p.entries}, entry)
  end
  return string.format('%d %d', head, place)
end

return {cut = cut, forget = forget, repeated = repeated, begin_day = begin_day,
  trim_log = trim_log, file_late = file_late, keep_unheard = keep_unheard, note_unheard = note_unheard,
  read_post = read_post, a = post_amendment, c = post_change}
