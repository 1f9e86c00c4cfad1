-- Notes and sets the `delivered` marks that acknowledgements make, and the
-- places that they reach, in one call: for a single server. ARGV: age, the
-- events of one page, members of the largest group in which others are
-- interested, then per item bucket, user, position, fingerprint, of each user
-- the farthest first. Returns per item whether the place is there (0 yes, 1
-- trimmed, 2 not, 3 it was not looked at as the call has done enough, 4 it must
-- be done step by step), the position that was reached (0: nothing was new),
-- and the marks that are new, as conversation and seq.
local page = tonumber(ARGV[2])
local bounds, now = {age = tonumber(ARGV[1]), receipts = tonumber(ARGV[3])}, now_us()
local oldest = now_ms() - bounds.age
-- Marks and notes after which a call begins nothing more: some 10 ms.
local ENOUGH = 4096
local done, looked = 0, {}

-- The bucket of a conversation, and of a direct one its members in the form of
-- a group's; nothing if the record does not say, '' if the user has left.
local function where(filed, conversation)
  if not filed then return nil end
  if match(filed, '^%d+ %d+ %d+ %d+ l') then return '' end
  local buckets = match(filed, ' b([%d,]+)$')
  if not buckets then return nil end
  local bucket, one, other = match(buckets, '^(%d+),?(%d*),?(%d*)$')
  if one == '' then return bucket end
  local first, second = match(conversation, '^(.-)~(.*)$')
  local members = one .. ',' .. first .. ':0:0;'
  if other ~= '' then members = members .. other .. ',' .. second .. ':0:0;' end
  return bucket, members
end

local function acknowledge(bucket, user, position, fp)
  local box = open(bucket, user, oldest)
  if looked[user] and position <= looked[user] and check(box, position, fp) == 0 then return 0, 0, {} end
  local code, upto, order, newest = unacknowledged(box, position, fp, page)
  if upto == 0 then return code, 0, {} end
  local fields, at = {}, {}
  for n, conversation in ipairs(order) do fields[n] = 'f:' .. conversation end
  local filed = #fields > 0 and call('HMGET', box.u, unpack(fields)) or {}
  for n, conversation in ipairs(order) do
    local b, members = where(filed[n], conversation)
    if not b then return 4, 0, {} end
    at[n] = {b, members}
  end
  local marks = {}
  for n, conversation in ipairs(order) do
    local b, direct = at[n][1], at[n][2]
    if b ~= '' then
      local tag, seq = '{' .. b .. '}', newest[conversation]
      local status, members = judge(tag, conversation, user, 'd', seq, 0, not direct)
      if status == 'advanced' then
        done = done + 1 + note_for_all(direct or members, conversation, user, 'd', now, bounds)
        set_mark(tag, conversation, user, 'd', seq)
        marks[#marks + 1], marks[#marks + 2] = conversation, seq
      end
    end
  end
  call('HSET', box.u, 'a', upto)
  looked[user] = position
  return code, upto, marks
end

local results = {}
for at = 4, #ARGV, 4 do
  if done > ENOUGH then
    results[#results + 1] = {3, 0, {}}
  else
    results[#results + 1] = {acknowledge(ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2]), ARGV[at + 3])}
  end
end
return results
