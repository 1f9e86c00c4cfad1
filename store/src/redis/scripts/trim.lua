-- Trims conversations of what the archive has. ARGV: messages of a conversation
-- that are kept, here and in the archive; the age in ms; then per item bucket, conversation, the
-- number before the first message that was copied, how many there are and the
-- fingerprint of the last one; and the same of changes. Returns per item 1, or 0
-- where the lists are no longer as they were copied, or what was copied may not be
-- filed yet: then nothing is trimmed. A note in `p` that is younger than what was
-- copied is about later entries.
--
-- A list only grows at its end and is only trimmed at its beginning. So the
-- fingerprint of one entry says of all before it that they are the same.
local most, upto = tonumber(ARGV[1]), now_ms() - tonumber(ARGV[2])

local function fingerprint(entry) return sub(entry or '', 2, 5) end

local function change(element) return match(element or '', '^%d+:%d+:(.*)$') end

-- When the conversation has to be looked at again.
local function look_again(tag, conversation, l, e)
  local message, first = nil, call('LINDEX', e, 0)
  if call('LLEN', l) > 1 then message = call('LINDEX', l, 0) end
  if not message and not first then return call('ZREM', tag .. 'g', conversation) end
  local time = math.min(message and entry_time(message) or math.huge, first and change_time(first) or math.huge)
  call('ZADD', tag .. 'g', format('%d', time), conversation)
end

local function trim(bucket, conversation, lbase, n, lfp, ebase, m, efp)
  lbase, n, ebase, m = tonumber(lbase), tonumber(n), tonumber(ebase), tonumber(m)
  local tag = '{' .. bucket .. '}'
  local c, l, e = tag .. 'c:' .. conversation, tag .. 'l:' .. conversation, tag .. 'e:' .. conversation
  local note = call('HGET', tag .. 'p', conversation)
  if note and tonumber(match(note, '^%d+')) <= upto then return 0 end
  local r = call('HMGET', c, 'lb', 'v', 'lg', 'eg')
  local base, len, changes = tonumber(r[1]) or 0, call('LLEN', l), call('LLEN', e)
  local before = base_of_changes(tonumber(r[2]) or 0, changes)
  if n > 0 and (base ~= lbase or n >= len or fingerprint(call('LINDEX', l, n - 1)) ~= lfp) then return 0 end
  if m > 0 and (before ~= ebase or m > changes or fingerprint(change(call('LINDEX', e, m - 1))) ~= efp) then return 0 end
  if n > 0 then
    local gone = math.max(tonumber(r[3]) or base, base + len - most)
    cut_list(l, n, {'HSET', c, 'lb', base + n, 'lg', gone, back = function()
      call('HSET', c, 'lb', base)
      if r[3] then call('HSET', c, 'lg', r[3]) else call('HDEL', c, 'lg') end
    end})
    if gone > (tonumber(r[3]) or base) then forget_states(tag, conversation, gone) end
  end
  if m > 0 then
    if not r[4] then call('HSET', c, 'eg', before) end
    call('LTRIM', e, m, -1)
  end
  look_again(tag, conversation, l, e)
  return 1
end

local results = {}
for at = 3, #ARGV, 8 do results[#results + 1] = trim(unpack(ARGV, at, at + 7)) end
return results
