-- Numbers, files and announces a batch in one call: for a single server. Posts
-- to large groups are filed for many members: when that is enough for one call,
-- the remaining posts are not started and have no row.
--
-- ARGV: the limits; how many posts have a trace; for each of these its index
-- (from 1) and the field of its announcement; then posts. Returns per post `seq
-- position` as a text, with its position in the inbox of its author (0: none).
-- If nothing was written: the status, and for a repeat seq and time (`half` and
-- `half same` are a repeat and a `same` that are not filed for everyone). With
-- the first post also the store's incarnation, and how many unheard messages
-- were dropped: as a further text, or at the end of the text.

-- The beginning of `field` before the message is filed; the position in the
-- inbox of its author.
local before, own_position
local keeps_unheard = bounds.unheard > 0
-- After filing for this many members of groups, about 10 ms, a call starts no
-- further post.
local ENOUGH = 1024

-- What the script reads of a member's record. All of it is read before the
-- first write, so that a damaged record leaves nothing half done.
local function look(u) return call('HMGET', u, 'b', 's', field) end
local records
local function look_at_members(members)
  for bucket, user in string.gmatch(members, '(%d+),([^:]+):') do
    records[#records + 1] = look('{' .. bucket .. '}u:' .. user)
  end
end

-- Files the message for a member with the record `r`, and adds the nodes that
-- get it. In the usual case it comes right after what is filed. `target` is ''
-- if it is to be made here.
local function file_message(own, r, u, i, ref, target, since_seq, since_version)
  local last, locations, position, number = r[3] or '0 0 0 0', r[2] or '', nil, nil
  if find(last, before, 1, true) == 1 then
    local base, len = r[1] and tonumber(match(r[1], '^%d+')) or 0, call('RPUSH', i, ref .. text .. ':' .. conversation)
    position = base + len
    number = format('%d', position)
    local noted = redis.pcall('HSET', u, field, text .. ' ' .. version .. ' ' .. number .. ' '
      .. (own and text or match(last, '^%d+ (%d+)', #before + 1)))
    if noted ~= 0 and noted ~= 1 then
      on_demand().take_back(i)
      error(noted)
    end
    if len > bounds.most then on_demand().cut(u, i, base, len - bounds.events) end
  else
    position, locations = on_demand().file_late(own, u, ref, since_seq, since_version)
    number = format('%d', position)
  end
  if own then own_position = number end
  if not locations then return end
  if locations ~= '' then add_targets(u, target, position, locations, own and session) end
  if keeps_unheard and not own then on_demand().keep_unheard(u, conversation, seq, locations) end
end

-- Posts a message and returns its row.
local function post_message(packed, entry)
  local l, k, name, time, middle, by, own_u, own_i, own_ref, u, i, ref, target
  conversation, c, l, k, field, name, session, time, middle, by, own_u, own_i, own_ref, u, i, ref, target =
    read_message(packed)
  local status, members, first
  records = by == '' and {look(own_u), u and look(u)} or {}
  status, seq, text, version, members, first = number_message(c, l, k, name, by, time, entry, look_at_members)
  if status == 'repeat' then status = on_demand().look_at_repeat(records, members) end
  if status ~= 'ok' then return {status, seq, tonumber(first)} end
  before, own_position = format('%d %s ', seq - 1, version), '0'
  if by ~= '' then
    -- For a group there is only the reference.
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
  return text .. ' ' .. own_position
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
      row = on_demand()[kind](on_demand().read_post(kind))
    end
    count = count + 1
    results[count] = row
  end
end

local i = call('HMGET', '{sb}incarnation', 'id', 'count')
local dropped = '0'
local function tell()
  publish(i, now, function(node) on_demand().forget(node) end)
  if #unheard > 0 then dropped = on_demand().note_unheard(unheard, now, bounds.unheard) end
end

local fine, why = pcall(post_all)
if not fine then on_demand().leave_note() end
-- What was filed before an error is announced nevertheless.
local all_told, why_not = pcall(tell)
if not all_told then on_demand().leave_notes(first_at) end
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
