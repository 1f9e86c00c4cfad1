-- A user's record and inbox. A reference is: the fingerprint (4 bytes), the
-- time in ms (6 bytes, big endian), the size of the entry (3 bytes, big
-- endian), 'm' (a message) or 'c' (a change), the seq or version, ':', and the
-- conversation. Its position is the base (see `sessions.lua`) plus its index in
-- the list.
--
-- What is filed of each conversation is in the fields `f:<conversation>` of the
-- record, as of the checkpoint: a position, in the field `n`. References after
-- it are messages that `post.lua` has filed, and readers apply them; it writes
-- the field only for their senders. Whatever else files first moves the
-- checkpoint to the head.
--
-- Invariant: no reference after the checkpoint is trimmed.

-- How many references are read at a time.
local MANY = 512

-- A damaged reference, which readers skip, counts as old.
local function time_of(ref)
  if #ref < 14 then return 0 end
  local a, b, c, d, e, f = byte(ref, 5, 10)
  return ((((a * 256 + b) * 256 + c) * 256 + d) * 256 + e) * 256 + f
end

-- Four bytes, even of a damaged reference.
local function fingerprint_of(ref) return sub(ref .. '\0\0\0\0', 1, 4) end

-- A user's inbox, and as `noted` its checkpoint.
local function inbox_of(tag, user)
  local s, i = tag .. 's:' .. user, tag .. 'i:' .. user
  local base, fp, locations = sessions_of(s)
  local len = call('LLEN', i)
  return {u = tag .. 'u:' .. user, i = i, s = s, base = base, base_fp = fp, len = len, head = base + len,
    locations = locations}
end

-- The newest messages after the checkpoint, up to `upto`: for each conversation
-- its seq and position. And the names of their fields.
local function newest_messages(box, noted, upto)
  local newest, fields = {}, {}
  if noted >= upto then return newest, fields end
  local refs = call('LRANGE', box.i, noted - box.base, upto - box.base - 1)
  for n = #refs, 1, -1 do
    local ref = refs[n]
    local colon = find(ref, ':', 15, true)
    local conversation = colon and sub(ref, colon + 1)
    -- All are messages: a damaged reference is skipped.
    if colon and not newest[conversation] and byte(ref, 14) == 109 then
      newest[conversation] = {seq = sub(ref, 15, colon - 1), position = noted + n}
      fields[#fields + 1] = 'f:' .. conversation
    end
  end
  return newest, fields
end

-- The checkpoint from the field `n`.
local function noted_in(box, n) return math.max(box.base, tonumber(n or '0')) end

-- Moves the checkpoint from `noted` to the head.
local function move_checkpoint(box, noted)
  while noted < box.head do
    local upto = math.min(box.head, noted + MANY)
    local newest, fields = newest_messages(box, noted, upto)
    local record = {'HSET', box.u, 'n', format('%d', upto)}
    local before = #fields > 0 and call('HMGET', box.u, unpack(fields)) or {}
    for n, field in ipairs(fields) do
      local one = newest[sub(field, 3)]
      local version, own = match(before[n] or '', '^%d+ (%d+) %d+ (%d+)')
      record[#record + 1] = field
      record[#record + 1] = format('%s %s %d %s', one.seq, version or '0', one.position, own or '0')
    end
    call(unpack(record))
    noted = upto
  end
end

-- Removes the oldest references.
local function cut(box, n)
  local noted = noted_in(box, call('HGET', box.u, 'n'))
  if noted < box.base + n then move_checkpoint(box, noted) end
  local old = call('GET', box.s)
  local base, fp = box.base + n, fingerprint_of(call('LINDEX', box.i, n - 1))
  cut_list(box.i, n, {'SET', box.s, with_sessions(base, fp, box.locations), back = function()
    if old then call('SET', box.s, old) else call('DEL', box.s) end
  end})
  box.base, box.base_fp, box.len = base, fp, box.len - n
end

-- Removes the references older than `oldest`.
local function cut_old(box, oldest)
  local page = 0
  while box.len > 0 do
    local old = 0
    for _, ref in ipairs(call('LRANGE', box.i, 0, page)) do
      if time_of(ref) >= oldest then break end
      old = old + 1
    end
    if old == 0 then break end
    cut(box, old)
    page = 63
  end
end

-- Opens an inbox for reading, and trims events older than `oldest`.
local function open(bucket, user, oldest)
  local box = inbox_of('{' .. bucket .. '}', user)
  local r = call('HMGET', box.u, 'a', 'w', 'e')
  box.acked, box.rewritten, box.ended = tonumber(r[1] or '0'), tonumber(r[2] or '0'), tonumber(r[3] or '')
  cut_old(box, oldest)
  return box
end

local function head_fp(box)
  if box.len == 0 then return box.base_fp end
  return fingerprint_of(call('LINDEX', box.i, -1))
end

-- Whether a cursor is valid: 0 valid, 1 trimmed, 2 rewritten. And the reference
-- at it, if that was read.
local function check(box, position, fp)
  if position > box.head or position < box.rewritten then return 2 end
  if position < box.base then return 1 end
  if position == box.base then return fp == box.base_fp and 0 or 2 end
  local ref = call('LINDEX', box.i, position - box.base - 1)
  return ref and fingerprint_of(ref) == fp and 0 or 2, ref
end

-- The inboxes to look after at the end of a call, by their keys.
local due = {}

-- Looks after them: moves their checkpoints to the head, and trims them of what is
-- too old, and those that are too long.
local function tend(bounds)
  local done = {}
  for _, i in ipairs(due) do
    if not done[i] then
      done[i] = true
      local box = inbox_of(match(i, '^({%d+})i:(.*)$'))
      move_checkpoint(box, noted_in(box, call('HGET', box.u, 'n')))
      cut_old(box, bounds.inbox_oldest)
      if box.len > bounds.most then cut(box, box.len - bounds.events) end
    end
  end
end
