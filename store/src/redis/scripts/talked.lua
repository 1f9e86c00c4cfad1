-- Whether two users have written to each other. ARGV: how many messages to read
-- at each end, then per item bucket, conversation and its two members. Returns
-- per item 1 if both have written one of the newest or oldest messages of the log,
-- else 0; the seq up to which messages are gone, the base, and the head.
-- The messages are read one by one, for usually the first two are enough.
local most = tonumber(ARGV[1])

local function talked(bucket, conversation, one, other)
  local l = '{' .. bucket .. '}l:' .. conversation
  local wrote, len = {}, redis.call('LLEN', l)
  local function look(at)
    wrote[entry_by(redis.call('LINDEX', l, at))] = true
    return wrote[one] and wrote[other]
  end
  local last = math.min(most, len)
  for n = 1, last do
    if look(len - n) then return 1 end
  end
  for n = 0, math.min(most, len - last) - 1 do
    if look(n) then return 1 end
  end
  return 0
end

local results = {}
for at = 2, #ARGV, 4 do
  local tag, conversation = '{' .. ARGV[at] .. '}', ARGV[at + 1]
  local r = redis.call('HMGET', tag .. 'c:' .. conversation, 'lb', 'lg')
  local base = tonumber(r[1]) or 0
  results[#results + 1] = {talked(unpack(ARGV, at, at + 3)), tonumber(r[2]) or base, base,
    base + redis.call('LLEN', tag .. 'l:' .. conversation)}
end
return results
