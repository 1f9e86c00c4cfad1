-- Numbers, files and announces a batch in one call: for a single server.
-- ARGV: the bounds, how many posts have a trace, of each which one (from 1) and
-- the field of its announcement, then posts. Returns per post `seq place` as a
-- text, with its place in the inbox of whoever made it (0: none), or if nothing
-- was written the status, and of a repeat seq and time; then with the first one
-- the store's incarnation and how many unheard messages were dropped, as a text
-- or at the end of it.

-- What `field` begins with before it is filed; the place in the inbox of
-- whoever made it.
local before, place
local keeps_unheard = bounds.unheard > 0

-- Files it for a member, and adds the nodes that are to hear of it. Nearly
-- always it comes right after what is filed. `target` is '' if it is to be made.
local function file_message(own, u, i, ref, target, since_seq, since_version)
  local r = call('HMGET', u, 'b', 's', field)
  local last, locations, position, number = r[3] or '0 0 0 0', r[2] or '', nil, nil
  if find(last, before, 1, true) == 1 then
    local base, len = r[1] and tonumber(match(r[1], '^%d+')) or 0, call('RPUSH', i, ref .. text .. ':' .. conversation)
    position = base + len
    number = format('%d', position)
    call('HSET', u, field, text .. ' ' .. version .. ' ' .. number .. ' '
      .. (own and text or match(last, '^%d+ (%d+)', #before + 1)))
    if len > bounds.most then rarely().cut(u, i, base, len - bounds.events) end
  else
    position, locations = rarely().file_late(own, u, ref, since_seq, since_version)
    number = format('%d', position)
  end
  if own then place = number end
  if not locations then return end
  if locations ~= '' then add_targets(u, target, position, locations, own and session) end
  if keeps_unheard and not own then rarely().keep_unheard(u, conversation, seq, locations) end
end

-- Returns its row.
local function post_message(packed, entry)
  local l, k, name, time, middle, by, own_u, own_i, own_ref, u, i, ref, target
  conversation, c, l, k, field, name, session, time, middle, by, own_u, own_i, own_ref, u, i, ref, target =
    read_message(packed)
  local status, members, first
  status, seq, text, version, members, first = number_message(c, l, k, name, by, time, entry)
  if status ~= 'ok' then return {status, seq, tonumber(first)} end
  before, place = format('%d %s ', seq - 1, version), '0'
  if by ~= '' then
    -- Of a group there is only the reference.
    ref = own_u
    for bucket, user, s, v in string.gmatch(members, '(%d+),([^:]+):(%d+):(%d+);') do
      local tag = '{' .. bucket .. '}'
      file_message(user == by, tag .. 'u:' .. user, tag .. 'i:' .. user, ref, '', s, v)
    end
  else
    file_message(true, own_u, own_i, own_ref, '', 0, 0)
    if u then file_message(false, u, i, ref, target, 0, 0) end
  end
  if reached > 0 then announce(conversation, '\16' .. varint(seq), middle, entry) end
  return text .. ' ' .. place
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
publish(i, now, function(node) rarely().forget(node) end)
local first = results[1]
if first then
  local dropped = #unheard > 0 and rarely().note_unheard(unheard, now, bounds.unheard) or '0'
  local store = (i[1] or '') .. ' ' .. dropped
  if type(first) == 'string' then
    results[1] = first .. ' ' .. store
  else
    first[#first + 1] = store
  end
end
return results
