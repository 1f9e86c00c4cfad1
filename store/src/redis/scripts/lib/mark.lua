-- Marks: the fields `d:<user>` and `r:<user>` of a conversation's record: a seq,
-- and behind it perhaps when the mark was last noted (see `deliver.lua`).
-- Notes: each user who is told of marks has the sorted set `m:<user>` of
-- conversations whose marks have changed, by the time of the last change in µs.
-- Invariant: a change is noted before, or in the same script as, it is made.

-- The most conversations noted for one user; the oldest are removed.
local NOTED = 1000

local function now_us()
  local t = call('TIME')
  return t[1] * 1000000 + t[2]
end

-- The seq of a mark, 0 for none.
local function seq_of(mark) return mark and tonumber(match(mark, '^%d+')) or 0 end

-- The seq after which a member sees messages; nil for a user who is no member.
local function since_of(members, user)
  local _, last = string.find(members, ',' .. user .. ':', 1, true)
  return last and tonumber(match(members, '^%d+', last + 1))
end

-- What setting a mark would do ('no', 'beyond', 'unchanged' or 'advanced'), and
-- a group's members. The user has read up to `least` in any case.
local function judge(tag, conversation, user, kind, seq, least, group)
  local c = tag .. 'c:' .. conversation
  local r = call('HMGET', c, 'lb', 'm', kind .. ':' .. user)
  local members = r[2] or ''
  if group then
    local since = since_of(members, user)
    if not since then return 'no', '' end
    if since > least then least = since end
  end
  local head = (tonumber(r[1]) or 0) + call('LLEN', tag .. 'l:' .. conversation)
  if head == 0 and not group then return 'no', '' end
  if seq > head then return 'beyond', '' end
  local old = seq_of(r[3])
  -- A mark beyond the head comes from a history that was lost.
  if old > head then old = 0 end
  if old > least then least = old end
  return seq > least and 'advanced' or 'unchanged', members
end

local function set_mark(tag, conversation, user, kind, seq)
  call('HSET', tag .. 'c:' .. conversation, kind .. ':' .. user, seq)
end

-- Limits a user's notes `m`; called when a conversation is new there.
local function limit_notes(m, now, age)
  local count = call('ZCARD', m)
  if count > NOTED + NOTED / 16 then call('ZREMRANGEBYRANK', m, 0, count - NOTED - 1) end
  if count % 16 == 0 then call('ZREMRANGEBYSCORE', m, '-inf', string.format('(%.0f', now - age * 1000)) end
end

-- Makes notes live for at least half of `age` (ms).
local function keep_notes(m, age)
  if call('PTTL', m) < age / 2 then call('PEXPIRE', m, string.format('%.0f', age)) end
end

-- Notes for one user that a conversation's marks change. Each note is later
-- than all others of the user, so that pages have clear ends.
local function note(bucket, user, conversation, now, age)
  local m = '{' .. bucket .. '}m:' .. user
  local time = string.format('%d', now)
  -- Rare: noted twice in one call, or the clock was set back.
  if call('ZCOUNT', m, time, '+inf') > 0 then
    time = string.format('%d', tonumber(call('ZRANGE', m, '-1', '-1', 'WITHSCORES')[2]) + 1)
  end
  if call('ZADD', m, time, conversation) == 1 then limit_notes(m, now, age) end
  keep_notes(m, age)
end
