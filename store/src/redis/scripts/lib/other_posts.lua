-- Posts other than messages, and messages of conversations of which something
-- may not be filed yet.

-- Notes a message that was filed for a member who has no session, and who is
-- not its sender.
local function keep_unheard(i, conversation, seq)
  unheard[#unheard + 1] = unheard_id(match(i, 'i:(.*)$'), conversation, seq)
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
    local whose = {bucket = m.bucket, user = m.user, seq = m.seq, version = m.version,
      own = kind == 'm' and by == m.user}
    local status, _, locations = file(bounds, whose, closed, false)
    if status == 'filed' and kind == 'm' and bounds.unheard > 0 and by ~= m.user and locations == '' then
      keep_unheard('{' .. m.bucket .. '}i:' .. m.user, e.conversation, seq)
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
local function file_late(own, i, since_seq, since_version)
  local bucket, user = match(i, '^{(%d+)}i:(.*)$')
  local m = {bucket = bucket, user = user, seq = tonumber(since_seq), version = tonumber(since_version), own = own}
  local e = {conversation = conversation, kind = 'm', seq = seq, version = tonumber(version), of = 0,
    prefix = sub(prefix, 1, 13)}
  local status, position, locations = file_anyway(match(c, '^{%d+}'), m, e)
  return position, status == 'filed' and locations
end

-- Files a change. Returns its position in the inbox of its author.
local function file_for_all(p, members, e)
  local tag, own_position = '{' .. p.bucket .. '}', 0
  for bucket, user, s, v, left in string.gmatch(members, '(%d+),([^:]+):(%d+):(%d+);(l?)') do
    filings = filings + 1
    local m = {bucket = bucket, user = user, seq = tonumber(s), version = tonumber(v), own = false,
      left = left == 'l' and e.last}
    local status, position, locations = file_anyway(tag, m, e)
    if user == p.by and position > 0 then own_position = position end
    if status == 'filed' and locations ~= '' then
      tell('{' .. bucket .. '}i:' .. user, string.format('%d', position), locations)
    end
  end
  reached = reached + 1
  lines[reached] = ''
  return own_position
end

-- When Redis refuses a command of a script, the commands before it stay. What
-- is left half done gets a note, as every post has in the stepwise way (see
-- `number.lua`). A repeat completes it, or a repair.
local function note_half(tag, name, more)
  local t = call('TIME')
  redis.pcall('HSET', tag .. 'p', name, now .. ' ' .. t[1] .. '.' .. t[2] .. (more or ''))
end

-- Takes back the present message, which nobody has seen.
local function take_back_message()
  for n = filed_in, 1, -1 do take_back(inboxes[n]) end
  call('HDEL', appended, name)
  take_back(l)
end

-- Leaves nothing half done of the present post without a note: a message is
-- taken back. Everybody is told when what has a note is completed.
local function clear_up()
  if appended then needs_note = not pcall(take_back_message) end
  if needs_note then note_half(match(c, '^{%d+}'), conversation) end
end

-- Leaves notes for all posts of this call: some unheard message was not noted.
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

local function post_amendment(p)
  conversation, c, appended, needs_note = p.conversation, '{' .. p.bucket .. '}c:' .. p.conversation, nil, true
  local status, head, version, members = number_amendment(p, bounds)
  if status ~= 'ok' then return status .. ' 0 0' end
  local own_position = file_for_all(p, members, {conversation = p.conversation, kind = 'c', seq = head,
    version = version + 1, of = p.seq, prefix = p.prefix})
  return row_of(format('%d', p.seq), own_position)
end

local function post_change(p)
  conversation, c, appended, needs_note = p.conversation, '{' .. p.bucket .. '}c:' .. p.conversation, nil, true
  local status, head, version, members = number_change(p, bounds)
  if status ~= 'ok' then return status .. ' 0 0' end
  local own_position = 0
  local fine, why = pcall(function()
    for n = 1, #p.entries do
      own_position = file_for_all(p, members, {conversation = p.conversation, kind = 'c', seq = head,
        version = version + n, of = 0, prefix = p.prefixes[n], last = n == #p.entries})
    end
  end)
  if not fine then
    local removed = removed_of(members)
    if removed ~= '' then
      note_half('{' .. p.bucket .. '}', p.conversation .. ' ' .. version + #p.entries, ' ' .. removed)
    end
    error(why)
  end
  return row_of(format('%d', head), own_position)
end

return {take_back = take_back, clear_up = clear_up, leave_notes = leave_notes, due = due, tend = tend, repeated = repeated,
  begin_day = begin_day, trim_log = trim_log, file_late = file_late, keep_unheard = keep_unheard,
  note_unheard = note_unheard, read_post = read_post, a = post_amendment, c = post_change}
