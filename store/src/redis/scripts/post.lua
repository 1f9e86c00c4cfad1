-- Numbers and files a batch in one call: for a single server. The router
-- announces. Posts to large groups are filed for many members: when that is
-- enough for one call, the remaining posts are not started and have no row.
--
-- A message is filed without a look at what is filed of its conversation:
-- everything before it is, unless there is a note in `p` (see `number.lua`).
-- Members' records are brought up when their inboxes are due (see `inbox.lua`).
--
-- ARGV: the limits; as MessagePack, the keys `p` of all conversations; the keys
-- `s` of the members of direct conversations whose messages these are, sender
-- first; then posts. Returns a list: the strings `s` of those keys, and last a
-- text: the store's incarnation, how many unheard messages were dropped, and if a
-- command was refused half way, why (the posts before it are done). Then a row per
-- post: for a direct message the seq, and the positions in the inboxes of the
-- sender and of the other member (0: none); for others see `row_of`. If nothing
-- was written it is the status, the seq, and for a repeat the time.

-- After filing for this many members of groups, about 10 ms, a call starts no
-- further post.
local ENOUGH = 1024

local keeps_unheard = bounds.unheard > 0
local unfiled = call('EXISTS', cmsgpack.unpack(arg())) > 0
-- The strings `s` of the members of direct conversations, and of the present
-- group. They are read before anything is written.
local direct = arg()
direct = direct == '' and {} or read_sessions({cmsgpack.unpack(direct)})
local looked = 0
-- Of the present group also the keys of the inboxes, and which is the sender's.
local sessions, group_inboxes, sender_at

local function look_at_members(members, by)
  local keys, n = {}, 0
  group_inboxes = {}
  for bucket, user in string.gmatch(members, '(%d+),([^:]+):') do
    n = n + 1
    keys[n], group_inboxes[n] = '{' .. bucket .. '}s:' .. user, '{' .. bucket .. '}i:' .. user
    if user == by then sender_at = n end
  end
  sessions = read_sessions(keys)
end

-- Of the present message: the reference, and the inboxes of members without a
-- session.
local reference, away, absent

-- Files the present message for a member with this string `s`. Returns the
-- position, and where in the string the locations begin.
local function file_message(own, i, s)
  local base = match(s, '^%d+')
  local len = call('RPUSH', i, reference)
  filed_in = filed_in + 1
  inboxes[filed_in] = i
  local position, from = base + len, #base + 6
  -- Not for all members of a group at once.
  if is_due(len, position + byte(i, 3) * 3, bounds) then
    local due = on_demand().due
    due[#due + 1] = i
  end
  if keeps_unheard and not own and #s < from then
    absent = absent + 1
    away[absent] = i
  end
  return position, from
end

local function file_for_group()
  filings = filings + #group_inboxes
  local own_position = 0
  for n, i in ipairs(group_inboxes) do
    local s = sessions[n]
    local position, from = file_message(n == sender_at, i, s)
    if #s >= from then tell(i, format('%d', position), sub(s, from)) end
    if n == sender_at then own_position = position end
  end
  return own_position
end

-- The same for a member for whom entries before it may be missing. Returns the
-- position (0: none), and the locations unless it was there already.
local function file_late(own, i, since_seq, since_version)
  local position, locations = on_demand().file_late(own, i, since_seq, since_version)
  if locations == '' and keeps_unheard and not own then on_demand().keep_unheard(i, conversation, seq) end
  return position, locations
end

local function file_late_for_group(by, members)
  local own_position = 0
  for bucket, user, s, v in string.gmatch(members, '(%d+),([^:]+):(%d+):(%d+);') do
    filings = filings + 1
    local i = '{' .. bucket .. '}i:' .. user
    local position, locations = file_late(user == by, i, s, v)
    if user == by then own_position = position end
    if locations and locations ~= '' then tell(i, format('%d', position), locations) end
  end
  return own_position
end

-- Posts a message and returns its row.
local function post_message(packed, entry)
  local k, time, by, own_u, own_i, i, status, members, first
  appended, filed_in = nil, 0
  conversation, c, l, k, name, time, by, prefix, own_u, own_i, i = read_message(packed)
  needs_note = unfiled and call('HEXISTS', match(c, '^{%d+}') .. 'p', conversation) == 1
  local at_sessions = looked
  if by == '' then looked = looked + (i and 2 or 1) end
  status, seq, text, version, members, first = number_message(c, l, k, name, by, time, entry, look_at_members)
  if status ~= 'ok' then return status .. ' ' .. text .. ' ' .. first end
  -- It has a note already: what fails now stays.
  if needs_note then appended = nil end
  reference, away, absent = prefix .. text .. ':' .. conversation, {}, 0
  local own_position, position = 0, 0
  if needs_note then
    if by ~= '' then
      own_position = file_late_for_group(by, members)
    else
      own_position = file_late(true, own_i, 0, 0)
      if i then position = file_late(false, i, 0, 0) end
    end
  else
    if by ~= '' then
      own_position = file_for_group()
    else
      own_position = file_message(true, own_i, direct[at_sessions + 1])
      if i then position = file_message(false, i, direct[at_sessions + 2]) end
    end
    -- Many ask for a user's own last seq: it is always there.
    call('HSET', own_u, 'f:' .. conversation, format('%d %s %d %d', seq, version, own_position, seq))
  end
  local row = by ~= '' and row_of(text, format('%d', own_position)) or format('%d %d %d', seq, own_position, position)
  for n = 1, absent do on_demand().keep_unheard(away[n], conversation, seq) end
  return row
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
if not fine then on_demand().clear_up() end
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
if made then
  local tended, failed = pcall(made.tend, bounds)
  if fine and not tended then fine, why = false, failed end
end

local head = (i[1] and i[1] .. '.' .. i[2] or '') .. ' ' .. dropped
if not fine then head = head .. ' ' .. (type(why) == 'table' and why.err or why) end
-- The list of the sessions is at hand.
direct[#direct + 1] = head
results[1] = direct
return results
