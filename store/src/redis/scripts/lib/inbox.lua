-- A user's record and inbox. A reference is: the fingerprint (4 bytes), the
-- time in ms (6 bytes, big endian), the size of the entry (3 bytes, big
-- endian), the buckets of its marks (of the conversation and, in a direct one,
-- of the other member: 2 bytes each, big endian), 'm' or 'c', the seq or
-- version, ':', and the conversation. Its position is the base plus its index
-- in the list.
local call, match, sub, byte, char, floor =
  redis.call, string.match, string.sub, string.byte, string.char, math.floor

local function now_ms()
  local t = call('TIME')
  return t[1] * 1000 + floor(t[2] / 1000)
end

-- A damaged reference, which readers skip, counts as old.
local function time_of(ref)
  if #ref < 16 then return 0 end
  local a, b, c, d, e, f = byte(ref, 5, 10)
  return ((((a * 256 + b) * 256 + c) * 256 + d) * 256 + e) * 256 + f
end

-- Four bytes, even of a damaged reference.
local function fingerprint_of(ref) return sub(ref .. '\0\0\0\0', 1, 4) end

-- The base: the position before the oldest event kept, and the fingerprint
-- there.
local function base_of(field)
  if not field then return 0, '\0\0\0\0' end
  return tonumber(match(field, '^%d+')), sub(field, -4)
end

local function cut(u, i, base, n)
  local fp = fingerprint_of(call('LINDEX', i, n - 1))
  cut_list(i, n, field_step(u, 'b', call('HGET', u, 'b'), base + n .. ' ' .. fp))
  return base + n, fp
end

-- Opens an inbox for reading, and trims events older than `oldest`.
local function open(bucket, user, oldest)
  local u, i = '{' .. bucket .. '}u:' .. user, '{' .. bucket .. '}i:' .. user
  local r = call('HMGET', u, 'b', 's', 'a', 'w', 'e')
  local base, fp = base_of(r[1])
  local box = {u = u, i = i, base = base, base_fp = fp, len = call('LLEN', i),
    locations = r[2] or '', acked = tonumber(r[3]) or 0, rewritten = tonumber(r[4]) or 0,
    ended = tonumber(r[5] or '')}
  local page = 0
  while box.len > 0 do
    local old = 0
    for _, ref in ipairs(call('LRANGE', i, 0, page)) do
      if time_of(ref) >= oldest then break end
      old = old + 1
    end
    if old == 0 then break end
    box.base, box.base_fp = cut(u, i, box.base, old)
    box.len, page = box.len - old, 63
  end
  box.head = box.base + box.len
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
