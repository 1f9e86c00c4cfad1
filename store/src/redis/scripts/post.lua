-- Numbers and files a batch in one call: for a single server. The router
-- announces. Posts to large groups are filed for many members: when that is
-- enough for one call, the remaining posts are not started and have no row.
--
-- ARGV: the limits, then posts. Returns a text: the store's incarnation, how
-- many unheard messages were dropped, and if a command was refused half way,
-- why (the posts before it are done). Then a row per post, see `row_of`. If
-- nothing was written it is the status, the seq, and for a repeat the time.

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

-- Files the message for a member with the record `r`. In the usual case it
-- comes right after what is filed.
local function file_message(own, r, u, i, ref, since_seq, since_version)
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
  if locations ~= '' then
    tell(u, number, locations)
  elseif keeps_unheard and not own then
    on_demand().keep_unheard(u, conversation, seq)
  end
end

-- Posts a message and returns its row.
local function post_message(packed, entry)
  local l, k, name, time, by, own_u, own_i, own_ref, u, i, ref
  conversation, c, l, k, field, name, time, by, own_u, own_i, own_ref, u, i, ref = read_message(packed)
  local status, members, first
  records = by == '' and {look(own_u), u and look(u)} or {}
  status, seq, text, version, members, first = number_message(c, l, k, name, by, time, entry, look_at_members)
  if status ~= 'ok' then return status .. ' ' .. text .. ' ' .. first end
  before, own_position = format('%d %s ', seq - 1, version), '0'
  if by ~= '' then
    -- For a group there is only the reference.
    ref = own_u
    local n = 0
    for bucket, user, s, v in string.gmatch(members, '(%d+),([^:]+):(%d+):(%d+);') do
      local tag = '{' .. bucket .. '}'
      n, filings = n + 1, filings + 1
      file_message(user == by, records[n], tag .. 'u:' .. user, tag .. 'i:' .. user, ref, s, v)
    end
  else
    file_message(true, records[1], own_u, own_i, own_ref, 0, 0)
    if u then file_message(false, records[2], u, i, ref, 0, 0) end
  end
  return row_of(text, own_position)
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
    results[count + 1] = row
  end
end

local i = call('HMGET', '{sb}incarnation', 'id', 'count')
local fine, why = pcall(post_all)
if not fine then on_demand().leave_note() end
local dropped = 0
if #unheard > 0 then
  local noted
  noted, dropped = pcall(on_demand().note_unheard, unheard, now, bounds.unheard)
  if not noted then
    on_demand().leave_notes(first_at)
    if fine then fine, why = false, dropped end
    dropped = 0
  end
end

local head = (i[1] and i[1] .. '.' .. i[2] or '') .. ' ' .. dropped
if not fine then head = head .. ' ' .. (type(why) == 'table' and why.err or why) end
results[1] = head
return results
