-- Numbers, files and announces a batch in one call: for a single server.
-- ARGV: the bounds, the traces, then posts. Returns per post its status, seq, time, and
-- the position in the sender's inbox, and with the first post the store's
-- incarnation, and how many unheard messages were dropped.
local bounds = read_bounds()
-- By a post's number in this call: what its announcement carries beside the entry.
local traces = {}
for _ = 1, tonumber(arg()) do
  local n = tonumber(arg())
  traces[n] = arg()
end

local unheard = {}      -- ids of messages for members without a session
local doubtful = {}     -- user to ids: perhaps all its sessions are on dead nodes

-- Notes a message that was filed, unless the feature is off.
local function keep_unheard(user, by, e, locations)
  if bounds.unheard == 0 or e.kind ~= 'm' or user == by then return end
  local id = unheard_id(user, e.conversation, e.seq)
  if locations == '' then
    unheard[#unheard + 1] = id
  else
    local ids = doubtful[user] or {}
    doubtful[user] = ids
    ids[#ids + 1] = id
  end
end

-- Files what a crash of the other way (step by step) has left out, up to but
-- not including this entry.
local function close(p, m, e, fs, fv)
  local tag = '{' .. p.bucket .. '}'
  local r = call('HMGET', tag .. 'c:' .. p.conversation, 'lb', 'v')
  local lb, eb = tonumber(r[1]) or 0, (tonumber(r[2]) or 0) - call('LLEN', tag .. 'e:' .. p.conversation)
  local s, v = e.seq, e.version
  if e.kind == 'm' then s = s - 1 else v = v - 1 end
  local function one(kind, seq, version, entry, of)
    local time = entry_time(entry)
    local six = ''
    for _ = 1, 6 do six, time = char(time % 256) .. six, floor(time / 256) end
    local closed = {conversation = e.conversation, kind = kind, seq = seq, version = version,
      of = of, prefix = sub(entry, 2, 5) .. six, where = e.where}
    local by = entry_by(entry)
    local whose = {bucket = m.bucket, user = m.user, seq = m.seq, version = m.version,
      own = kind == 'm' and by == m.user}
    local status, _, locations = file(bounds, whose, closed, false)
    if status == 'filed' then keep_unheard(m.user, by, closed, locations) end
  end
  if fs < lb then fs = lb end
  if fv < eb then fv = eb end
  local function messages(upto, version)
    if upto <= fs then return end
    for _, entry in ipairs(call('LRANGE', tag .. 'l:' .. p.conversation, fs - lb, upto - lb - 1)) do
      fs = fs + 1
      one('m', fs, version, entry, 0)
    end
  end
  if v > fv then
    for _, change in ipairs(call('LRANGE', tag .. 'e:' .. p.conversation, fv - eb, v - eb - 1)) do
      local head, of, entry = match(change, '^(%d+):(%d+):(.*)$')
      messages(tonumber(head), fv)
      fv = fv + 1
      one('c', tonumber(head), fv, entry, tonumber(of))
    end
  end
  messages(s, v)
end

local users_of = {}            -- node to the users announced there, for the sweep

-- For `lib/file.lua`: the buckets of a conversation.
local function where(p)
  local text = ' b' .. p.bucket
  if p.group == false then
    for bucket in string.gmatch(p.members, '(%d+),') do text = text .. ',' .. bucket end
  end
  return text
end

local function file_for_all(p, members, e, entry)
  e.where = e.where or where(p)
  local place, targets, nodes = 0, {}, {}
  for bucket, user, s, v, left in string.gmatch(members, '(%d+),([^:]+):(%d+):(%d+);(l?)') do
    local m = {bucket = bucket, user = user, seq = tonumber(s), version = tonumber(v),
      own = e.kind == 'm' and user == p.by, left = left == 'l' and e.last}
    local status, position, locations = file(bounds, m, e, true)
    if status == 'hole' then
      close(p, m, e, position, locations)
      status, position, locations = file(bounds, m, e, false)
    end
    if user == p.by and position > 0 then place = position end
    if status == 'filed' then keep_unheard(user, p.by, e, locations) end
    if status == 'filed' and locations ~= '' then
      local told
      for session, node in string.gmatch(locations, '([^ ]+) [^ ]+ ([^;]+);') do
        if session ~= p.session and not (told and told[node]) then
          told = told or {}
          told[node] = true
          local target = field('\34', field('\10', user) .. '\16' .. varint(position))
          if targets[node] then
            targets[node] = targets[node] .. target
          else
            nodes[#nodes + 1], targets[node] = node, target
          end
          local seen = users_of[node] or {}
          users_of[node] = seen
          seen[user] = bucket
        end
      end
    end
  end
  if #nodes == 0 then return place end
  local head = field('\10', e.conversation) .. (e.kind == 'm' and '\16' .. varint(e.seq) or '') .. field('\26', entry)
    .. (p.trace or '')
  for _, node in ipairs(nodes) do say(node, field('\34', head .. targets[node])) end
  return place
end

local results = {}
while at <= #ARGV do
  local p = read_post()
  p.trace = traces[#results + 1]
  if p.kind == 'm' then
    local status, seq, version, time, members = number_message(p, bounds)
    local place = 0
    if status == 'ok' then
      place = file_for_all(p, p.group and members or p.members, {conversation = p.conversation, kind = 'm',
        seq = seq, version = version, of = 0, prefix = p.prefix}, p.entry)
    end
    results[#results + 1] = {status, seq, time, place}
  elseif p.kind == 'a' then
    local status, head, version, members = number_amendment(p, bounds)
    local place = 0
    if status == 'ok' then
      place = file_for_all(p, members, {conversation = p.conversation, kind = 'c', seq = head,
        version = version + 1, of = p.seq, prefix = p.prefix}, p.entry)
    end
    results[#results + 1] = {status, p.seq, 0, place}
  else
    local status, head, version, members = number_change(p, bounds)
    local place = 0
    if status == 'ok' then
      for n, entry in ipairs(p.entries) do
        place = file_for_all(p, members, {conversation = p.conversation, kind = 'c', seq = head,
          version = version + n, of = 0, prefix = p.prefixes[n], last = n == #p.entries}, entry)
      end
    end
    results[#results + 1] = {status, head, 0, place}
  end
end

local i = call('HMGET', '{sb}incarnation', 'id', 'count')
if #results > 0 then results[1][5] = i[1] or '' end
publish(i, bounds.now, function(node)
  for user, bucket in pairs(users_of[node]) do
    sweep(bucket, user, {[node] = true})
    if doubtful[user] and call('HGET', '{' .. bucket .. '}u:' .. user, 's') == '' then
      for _, id in ipairs(doubtful[user]) do unheard[#unheard + 1] = id end
      doubtful[user] = nil
    end
  end
end)
if #unheard > 0 then results[1][6] = note_unheard(unheard, bounds.now, bounds.unheard) end
return results
