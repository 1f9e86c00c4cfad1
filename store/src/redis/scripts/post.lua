-- Numbers, files and announces a batch in one call: for a single server.
-- ARGV: the bounds, how many posts have a trace, of each which one (from 1) and
-- the field of its announcement, then posts. Returns per post `seq place` as a
-- text, with its place in the inbox of whoever made it (0: none), or if nothing
-- was written the status, and of a repeat seq and time; then with the first one
-- the store's incarnation, and how many unheard messages were dropped.

-- Files a message for a member, and adds the nodes that are to hear of it.
local function file_message(e, tag, user, where, since_seq, since_version)
  local own = user == e.by
  local position, locations, text = file_next(tag, user, e.field, e.before, e.filed,
    e.prefix .. where .. e.tail, own and e.text, bounds)
  if not position then
    local status
    local m = {bucket = sub(tag, 2, -2), user = user, where = where, seq = tonumber(since_seq),
      version = tonumber(since_version), own = own}
    status, position, locations = rarely().file_anyway(e.tag, m, e)
    text = format('%d', position)
    if status ~= 'filed' then locations = nil end
  end
  if own then e.place = text end
  if not locations then return end
  if locations ~= '' then add_targets(e.targets, tag, user, position, locations, own and e.session) end
  if bounds.unheard > 0 and not own then rarely().keep_unheard(user, e.conversation, e.seq, locations) end
end

-- Returns its row.
local function post_message(head, entry)
  local tag, conversation, by, name, session, time, prefix, one_tag, one, one_where, other_tag, other,
    other_where = read_message(MESSAGE, head)
  local status, seq, text, version, stands, members =
    number_message(tag, conversation, by, name, time, entry, one, other, bounds)
  if status ~= 'ok' then return {status, seq, stands} end
  local e = {tag = tag, conversation = conversation, kind = 'm', seq = seq, version = tonumber(version), of = 0,
    by = by, session = session, prefix = prefix, text = text, field = 'f:' .. conversation,
    before = format('%d %s ', seq - 1, version), filed = text .. ' ' .. version .. ' ',
    tail = 'm' .. text .. ':' .. conversation, targets = {}, place = '0'}
  if one == '' then
    local where = struct.pack('>I2I2', sub(tag, 2, -2), 0)
    for bucket, user, s, v in string.gmatch(members, '(%d+),([^:]+):(%d+):(%d+);') do
      file_message(e, '{' .. bucket .. '}', user, where, s, v)
    end
  else
    file_message(e, one_tag, one, one_where, 0, 0)
    if other ~= '' then file_message(e, other_tag, other, other_where, 0, 0) end
  end
  if e.targets[1] then announce(e.targets, conversation, seq, entry) end
  return text .. ' ' .. e.place
end

local last = #ARGV
while at <= last do
  local kind, row = ARGV[at], nil
  if #kind > 1 then
    row = post_message(kind, ARGV[at + 1])
    at = at + 2
  else
    at = at + 1
    row = rarely()[kind](rarely().read_post(kind))
  end
  count = count + 1
  results[count] = row
end

local i = call('HMGET', '{sb}incarnation', 'id', 'count')
publish(i, bounds.now, function(node)
  for n = 1, #told, 2 do
    local user, tag = told[n], told[n + 1]
    rarely().sweep(sub(tag, 2, -2), user, {[node] = true})
    if doubtful[user] and call('HGET', tag .. 'u:' .. user, 's') == '' then
      for _, id in ipairs(doubtful[user]) do unheard[#unheard + 1] = id end
      doubtful[user] = nil
    end
  end
end)
local first = results[1]
if first then
  if type(first) == 'string' then first = {first} end
  first[#first + 1] = i[1] or ''
  if #unheard > 0 then first[#first + 1] = rarely().note_unheard(unheard, bounds.now, bounds.unheard) end
  results[1] = first
end
return results
