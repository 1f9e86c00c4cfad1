-- Numbers, files and announces a batch in one call: for a single server. Posts
-- to large groups are filed for many: when that is enough for one call, the rest
-- is not begun, and has no row.
-- ARGV: the bounds, how many posts have a trace, of each which one (from 1) and
-- the field of its announcement, then posts. Returns per post `seq place` as a
-- text, with its place in the inbox of whoever made it (0: none), or if nothing
-- was written the status, and of a repeat seq and time (`half` and `half same`
-- are a repeat and a `same` that are not filed for everyone); then with the first one
-- the store's incarnation and how many unheard messages were dropped, as a text
-- or at the end of it.

-- What `field` begins with before it is filed; the place in the inbox of
-- whoever made it.
local before, place
local keeps_unheard = bounds.unheard > 0
-- Members of groups for whom a call files, after which it begins nothing more:
-- some 10 ms.
local ENOUGH = 1024

-- What the scripts look at in a member's record. All of it is read before the
-- first write, so that a record that cannot be read leaves nothing half done.
local function look(u) return call('HMGET', u, 'b', 's', field) end
local records
local function look_at_members(members)
  for bucket, user in string.gmatch(members, '(%d+),([^:]+):') do
    records[#records + 1] = look('{' .. bucket .. '}u:' .. user)
  end
end

-- Files it for a member with the record `r`, and adds the nodes that are to hear
-- of it. Nearly always it comes right after what is filed. `target` is '' if it
-- is to be made.
local function file_message(own, r, u, i, ref, target, since_seq, since_version)
  local last, locations, position, number = r[3] or '0 0 0 0', r[2] or '', nil, nil
  if find(last, before, 1, true) == 1 then
    local base, len = r[1] and tonumber(match(r[1], '^%d+')) or 0, call('RPUSH', i, ref .. text .. ':' .. conversation)
    position = base + len
    number = format('%d', position)
    local noted = redis.pcall('HSET', u, field, text .. ' ' .. version .. ' ' .. number .. ' '
      .. (own and text or match(last, '^%d+ (%d+)', #before + 1)))
    if noted ~= 0 and noted ~= 1 then
      rarely().take_back(i)
      error(noted)
    end
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
  records = by == '' and {look(own_u), u and look(u)} or {}
  status, seq, text, version, members, first = number_message(c, l, k, name, by, time, entry, look_at_members)
  if status == 'repeat' then status = rarely().look_at_repeat(records, members) end
  if status ~= 'ok' then return {status, seq, tonumber(first)} end
  before, place = format('%d %s ', seq - 1, version), '0'
  if by ~= '' then
    -- Of a group there is only the reference.
    ref = own_u
    local n = 0
    for bucket, user, s, v in string.gmatch(members, '(%d+),([^:]+):(%d+):(%d+);') do
      local tag = '{' .. bucket .. '}'
      n, filings = n + 1, filings + 1
      file_message(user == by, records[n], tag .. 'u:' .. user, tag .. 'i:' .. user, ref, '', s, v)
    end
  else
    file_message(true, records[1], own_u, own_i, own_ref, '', 0, 0)
    if u then file_message(false, records[2], u, i, ref, target, 0, 0) end
  end
  if reached > 0 then announce(conversation, '\16' .. varint(seq), middle, entry) end
  return text .. ' ' .. place
end

local first_at, last = at, #ARGV
local function post_all()
  while at <= last and filings < ENOUGH do
    local kind, row = ARGV[at], nil
    if #kind > 1 then
      local entry = ARGV[at + 1]
      at = at + 2
      row = post_message(kind, entry)
    else
      at = at + 1
      row = rarely()[kind](rarely().read_post(kind))
    end
    count = count + 1
    results[count] = row
  end
end

local i = call('HMGET', '{sb}incarnation', 'id', 'count')
local dropped = '0'
local function tell()
  publish(i, now, function(node) rarely().forget(node) end)
  if #unheard > 0 then dropped = rarely().note_unheard(unheard, now, bounds.unheard) end
end

local fine, why = pcall(post_all)
if not fine then rarely().leave_note() end
-- What was filed before is told all the same.
local all_told, why_not = pcall(tell)
if not all_told then rarely().leave_notes(first_at) end
if not (fine and all_told) then
  if fine then why = why_not end
  return {err = type(why) == 'table' and why.err or why}
end

local first = results[1]
if first then
  local store = (i[1] or '') .. ' ' .. dropped
  if type(first) == 'string' then
    results[1] = first .. ' ' .. store
  else
    first[#first + 1] = store
  end
end
return results
