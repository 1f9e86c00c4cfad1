-- The oldest entries of conversations, for the archive. ARGV: the age in ms; how
-- many entries and bytes of a conversation at most; then per item bucket and
-- conversation. Returns per item the number before the first message, the messages,
-- the number before the first change, and the changes.
local upto, most, bytes = now_ms() - tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])

-- How many elements are read at a time.
local FEW = 16

local function old(list, len, limit, time_of)
  local found, size = {}, 0
  for from = 0, len - 1, FEW do
    for _, element in ipairs(call('LRANGE', list, from, math.min(from + FEW, len) - 1)) do
      size = size + #element
      if #found == limit or (size > bytes and #found > 0) or time_of(element) > upto then return found end
      found[#found + 1] = element
    end
  end
  return found
end

local results = {}
for at = 4, #ARGV, 2 do
  local tag, conversation = '{' .. ARGV[at] .. '}', ARGV[at + 1]
  local l, e = tag .. 'l:' .. conversation, tag .. 'e:' .. conversation
  local r = call('HMGET', tag .. 'c:' .. conversation, 'lb', 'v')
  local changes = call('LLEN', e)
  -- Without the newest message.
  local messages = old(l, call('LLEN', l) - 1, most, entry_time)
  results[#results + 1] = {tonumber(r[1]) or 0, messages, base_of_changes(tonumber(r[2]) or 0, changes),
    old(e, changes, most - #messages, change_time)}
end
return results
