-- Filing: appends a reference to a member's inbox, unless it is there already.
-- The field `f:<conversation>` of the member's record has: the seq and the
-- version filed, the position of the conversation's newest event, the member's
-- own last seq, and 'l' if the member has left.
--
-- The entries of a conversation are ordered by (seq, version); each entry
-- raises exactly one of the two. An entry with `e.of` amends the message with
-- that seq. Members who do not see that message do not get the entry: their
-- record moves on, their inbox does not.
local FILED = '^(%d+) (%d+) (%d+) (%d+)'

-- Returns 'filed', the position and the locations. Or 'old' if it is there
-- already, with its position if it is the newest, and the reference to the
-- newest event. Or 'hole' with the last pair filed, if `strict` and entries in
-- between are missing. Or 'hidden' if this member does not see it.
--
-- With `m.rewrite` it files whatever was filed before, and cursors before this
-- event become invalid.
local function file(bounds, m, e, strict)
  local box = inbox_of('{' .. m.bucket .. '}', m.user)
  local u, field = box.u, 'f:' .. e.conversation
  local r = call('HMGET', u, 'n', field)
  local noted, filed = noted_in(box, r[1]), r[2]
  if noted < box.head then
    move_checkpoint(box, noted)
    filed = call('HGET', u, field)
  end
  local fs, fv, position, own = 0, 0, 0, 0
  if filed then
    fs, fv, position, own = match(filed, FILED)
    fs, fv, own = tonumber(fs), tonumber(fv), tonumber(own)
  end
  local from_s, from_v = fs, fv
  if m.seq > from_s then from_s = m.seq end
  if m.version > from_v then from_v = m.version end
  local hidden = e.of > 0 and e.of <= m.seq
  -- The entry's own number decides: the other is too high where changes are gone. Lower
  -- in one number and higher in the other comes from another history.
  local number, last = e.version, from_v
  if e.kind == 'm' then number, last = e.seq, from_s end
  if (number <= last or e.seq < from_s or e.version < from_v) and not m.rewrite then
    position = tonumber(position)
    local newest = position > box.base and call('LINDEX', box.i, position - box.base - 1) or ''
    return 'old', fs == e.seq and fv == e.version and not hidden and position or 0, newest
  end
  if strict and (e.seq - from_s) + (e.version - from_v) ~= 1 then return 'hole', from_s, from_v end
  if hidden then
    call('HSET', u, field, e.seq .. ' ' .. e.version .. ' ' .. position .. ' ' .. own)
    if m.rewrite then call('HSET', u, 'w', box.head) end
    return 'hidden', 0, ''
  end
  local len = call('RPUSH', box.i, e.prefix .. e.kind .. number .. ':' .. e.conversation)
  position = box.base + len
  if m.own then own = e.seq end
  local record = {'HSET', u, field, e.seq .. ' ' .. e.version .. ' ' .. position .. ' ' .. own .. (m.left and ' l' or ''),
    'n', position}
  if m.rewrite then record[#record + 1], record[#record + 2] = 'w', position end
  local noted_now = redis.pcall(unpack(record))
  if type(noted_now) == 'table' then
    take_back(box.i)
    error(noted_now)
  end
  if is_due(len, position, bounds) then due[#due + 1] = box.i end
  return 'filed', position, box.locations
end
