-- Notes and sets the `delivered` marks that acknowledgements make, and the
-- places that they reach, in one call: for a single server. ARGV: age, members
-- of the largest group in which others are interested, the events of one page,
-- then per item, as MessagePack, user, the keys of its record and inbox, the
-- position, it as a text, and the fingerprint; of each user the farthest first.
-- Returns per item, as a text, whether the place is there (0 yes, 1 trimmed, 2
-- not, 3 it was not looked at as the call has done enough), the position that
-- was reached (0: nothing was new), and the marks that are new, as conversation
-- and seq.
local page = tonumber(ARGV[3])
-- Marks and notes after which a call begins nothing more: some 10 ms.
local ENOUGH = 4096
local done = 0
-- How far each user has asked in this call: what is nearer is done with that.
local looked = {}
-- Notes live for half of the age at least: the first mark in each such time
-- prolongs them, which the record of the conversation has as `n:<user>`, and so
-- does the note of a conversation that is new among a user's.
local period = format('%d', floor(now / (bounds.age * 500)))

-- Notes and sets the mark that a message makes, whose reference this is. Returns
-- whether it is new.
local function mark(u, user, ref, conversation, seq)
  local home, home_low, other, other_low = byte(ref, 14, 17)
  local tag, tilde = format('{%d}', home * 256 + home_low), find(conversation, '~', 1, true)
  if not tilde then
    local count = rarely().mark_in_group(tag, conversation, user, seq)
    done = done + 2 + (count or 0)
    return count
  end
  local c, delivered, prolonged = tag .. 'c:' .. conversation, 'd:' .. user, 'n:' .. user
  local r = call('HMGET', c, delivered, prolonged)
  -- What an inbox refers to is in the log: on a single server both are lost
  -- together. A mark beyond the head is of a history that was lost.
  if r[1] and seq + 0 <= r[1] + 0 and not rarely().is_beyond(c, tag .. 'l:' .. conversation, r[1]) then return false end
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

-- The marks of the newest message of each conversation among references; adds
-- those that are new to `row`.
local function mark_newest(u, user, refs, row)
  local last, seen
  for n = #refs, 1, -1 do
    local ref = refs[n]
    if byte(ref, 18) == 109 then
      local seq, behind = match(ref, '^(%d+):()', 19)
      -- Nothing of one that is damaged.
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
  -- Nearly always the place is there and new, and no more than a page away.
  if not looked[user] and position > from and position <= from + page and not r[3] then
    refs = call('LRANGE', i, base == 0 and r[2] or format('%d', from - base), format('%d', position - base - 1))
    if #refs ~= position - from or sub(refs[#refs], 1, 4) ~= fp then refs = nil end
  end
  if not refs then
    local upto
    code, upto, refs = rarely().look(u, user, position, fp, looked[user])
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
