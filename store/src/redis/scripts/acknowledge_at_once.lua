-- Notes and sets the `delivered` marks that acknowledgements make, and the
-- places that they reach, in one call: for a single server. ARGV: age, the
-- events of one page, members of the largest group in which others are
-- interested, then per item bucket, user, position, fingerprint, of each user
-- the farthest first. Returns per item, as a text, whether the place is there (0
-- yes, 1 trimmed, 2 not, 3 it was not looked at as the call has done enough),
-- the position that was reached (0: nothing was new), and the marks that are
-- new, as conversation and seq.
local page = tonumber(ARGV[2])
local bounds, now = {age = tonumber(ARGV[1]), receipts = tonumber(ARGV[3])}, now_us()
-- Marks and notes after which a call begins nothing more: some 10 ms.
local ENOUGH = 4096
local done = 0
-- How far each user has asked in this call: what is nearer is done with that.
local looked = {}

-- The same as `unacknowledged`, by fewer commands where the place is there and
-- new, and no more than a page from the last one.
local function look(bucket, user, position, fp)
  local tag = '{' .. bucket .. '}'
  local r = call('HMGET', tag .. 'u:' .. user, 'b', 'a', 'w')
  local base, from = r[1] and base_of(r[1]) or 0, tonumber(r[2] or 0)
  if from < base then from = base end
  local later = looked[user] and position <= looked[user]
  if not later and position > from and position <= from + page and position >= tonumber(r[3] or 0) then
    local refs = call('LRANGE', tag .. 'i:' .. user, string.format('%d', from - base),
      string.format('%d', position - base - 1))
    if #refs == position - from and sub(refs[#refs], 1, 4) == fp then return 0, position, refs end
  end
  local box = open(bucket, user, floor(now / 1000) - bounds.age)
  if later then return check(box, position, fp), 0, {} end
  return unacknowledged(box, position, fp, page)
end

local function acknowledge(bucket, user, position, fp)
  local code, upto, refs = look(bucket, user, position, fp)
  if upto == 0 then return string.format('%d 0', code) end
  local row = string.format('%d %d', code, upto)
  each_newest(refs, function(conversation, seq, ref)
    local home, other = struct.unpack('>I2I2', ref, 11)
    local tag, peer = string.format('{%d}', home), nil
    local one, two = match(conversation, '^(.-)~(.*)$')
    if one then peer = one == user and two or one end
    local status, members = judge(tag, conversation, user, 'd', tonumber(seq), 0, not one)
    if status ~= 'advanced' then return end
    done = done + 2
    if not one then
      done = done + note_for_all(members, conversation, user, 'd', now, bounds)
    elseif peer ~= user then
      note(string.format('%d', other), peer, conversation, now, bounds.age)
    end
    set_mark(tag, conversation, user, 'd', seq)
    row = row .. ' ' .. conversation .. ' ' .. seq
  end)
  call('HSET', '{' .. bucket .. '}u:' .. user, 'a', string.format('%d', upto))
  looked[user] = position
  return row
end

local results = {}
for at = 4, #ARGV, 4 do
  if done > ENOUGH then
    results[#results + 1] = '3 0'
  else
    results[#results + 1] = acknowledge(ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2]), ARGV[at + 3])
  end
end
return results
