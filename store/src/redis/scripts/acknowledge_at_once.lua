-- Notes and sets the `delivered` marks that acknowledgements make, and their
-- positions, in one call: for a single server. ARGV: age; members of the
-- largest group in which marks of others are noted; events of one page; then
-- per item, as MessagePack, the user, the keys of its record and inbox, the
-- position, the position as a text, and the fingerprint; items of one user the
-- farthest first. Returns per item, as a text, whether the cursor is valid (0
-- yes, 1 trimmed, 2 no, 3 not read, since the call has done enough), the
-- position that was reached (0: nothing was new), and the new marks, as
-- conversation and seq.
local page = tonumber(ARGV[3])
-- After this many marks and notes, about 10 ms, a call starts no further item.
local ENOUGH = 4096
local done = 0
-- The farthest position of each user in this call, which covers nearer ones.
local looked = {}
-- Notes live for at least half of the age. So the first mark in each such
-- period prolongs them, and so does a conversation that is new among a user's
-- notes. The field `n:<user>` of a conversation's record has the last period in
-- which the user's mark did so.
local period = format('%d', floor(now / (bounds.age * 500)))

-- Notes and sets the mark of a message; `ref` is its reference. Returns whether
-- the mark is new.
local function mark(u, user, ref, conversation, seq)
  local home, home_low, other, other_low = byte(ref, 14, 17)
  local tag, tilde = format('{%d}', home * 256 + home_low), find(conversation, '~', 1, true)
  if not tilde then
    local count = on_demand().mark_in_group(tag, conversation, user, seq)
    done = done + 2 + (count or 0)
    return count
  end
  local c, delivered, prolonged = tag .. 'c:' .. conversation, 'd:' .. user, 'n:' .. user
  local r = call('HMGET', c, delivered, prolonged)
  -- The log has every message that an inbox refers to, since a single server
  -- loses both together. A mark beyond the head comes from a history that was
  -- lost.
  if r[1] and seq + 0 <= r[1] + 0 and not on_demand().is_beyond(c, tag .. 'l:' .. conversation, r[1]) then return false end
  done = done + 2
  local peer = sub(conversation, 1, tilde - 1)
  if peer == user then peer = sub(conversation, tilde + 1) end
  if peer ~= user then
    local m = format('{%d}m:', other * 256 + other_low) .. peer
    if note_next(m, conversation) or r[2] ~= period then
      call('PEXPIRE', m, ARGV[1])
      call('HSET', c, delivered, seq, prolonged, period)
      return true
    end
  end
  call('HSET', c, delivered, seq)
  return true
end

-- Sets the marks of the newest message of each conversation among references,
-- and adds the new ones to `row`.
local function mark_newest(u, user, refs, row)
  local last, seen
  for n = #refs, 1, -1 do
    local ref = refs[n]
    if byte(ref, 18) == 109 then
      local seq, behind = match(ref, '^(%d+):()', 19)
      -- A damaged reference is skipped.
      local conversation = seq and sub(ref, behind)
      if seq and conversation ~= last and not (seen and seen[conversation]) then
        if last then
          seen = seen or {[last] = true}
          seen[conversation] = true
        end
        last = conversation
        if mark(u, user, ref, conversation, seq) then row = row .. ' ' .. conversation .. ' ' .. seq end
      end
    end
  end
  return row
end

local function acknowledge(packed)
  local user, u, i, position, text, fp = cmsgpack.unpack(packed)
  local r, refs = call('HMGET', u, 'b', 'a', 'w'), nil
  local base, from, code = r[1] and tonumber(match(r[1], '^%d+')) or 0, (r[2] or 0) + 0, '0'
  if from < base then from = base end
  -- The usual case: the cursor is valid and new, and at most a page away.
  if not looked[user] and position > from and position <= from + page and not r[3] then
    refs = call('LRANGE', i, base == 0 and r[2] or format('%d', from - base), format('%d', position - base - 1))
    if #refs ~= position - from or sub(refs[#refs], 1, 4) ~= fp then refs = nil end
  end
  if not refs then
    local upto
    code, upto, refs = on_demand().look(u, user, position, fp, looked[user])
    code = format('%d', code)
    if upto == 0 then return code .. ' 0' end
    text = format('%d', upto)
  end
  local row = mark_newest(u, user, refs, code .. ' ' .. text)
  call('HSET', u, 'a', text)
  looked[user] = position
  return row
end

local results = {}
for at = 4, #ARGV do
  results[at - 3] = done > ENOUGH and '3 0' or acknowledge(ARGV[at])
end
keep_clock()
return results
