-- A page of messages of a conversation. ARGV per item: bucket, conversation,
-- user, '1' for a group, range ('n' newest, 'b' before or 'a' after), seq,
-- limit, bytes of the page at most. Returns per item whether the user is a
-- member, the seq of the first message, whether there are more, the messages,
-- and the states of those that were amended. A page ends where the log does. Of
-- messages before it, which the archive has, it returns no messages, but their
-- states, and the seq of the last one (else 0). Last is 1 where the page ends because
-- the log or the archive does.

-- How many messages are read at a time.
local FEW = 16
-- The bytes of a message besides its entry.
local BESIDE = 256

-- Builds the row. `messages` are in the direction of reading; `seq` is that of
-- the last one.
local function page(messages, found, seq, step, more, border)
  if step > 0 then return {1, seq - #messages + 1, more and 1 or 0, messages, found, 0, 0} end
  local n = #messages
  for at = 1, floor(n / 2) do messages[at], messages[n + 1 - at] = messages[n + 1 - at], messages[at] end
  return {1, seq, more and 1 or 0, messages, found, 0, border and 1 or 0}
end

local function weight_of(state)
  local bytes = #state[2]
  for _, reaction in ipairs(state[4]) do bytes = bytes + #reaction + 12 end
  return bytes
end

-- The row for messages that the archive has: as many as the states of the amended
-- ones leave room for.
local function archived(tag, conversation, from, to, step, most, more, border)
  local seqs = call('ZRANGEBYSCORE', tag .. 'z:' .. conversation, from, to)
  local first, last, found, bytes = 1, #seqs, {}, 0
  if step < 0 then first, last = last, first end
  for n = first, last, step do
    local state = state_of(tag, conversation, seqs[n])
    bytes = bytes + weight_of(state)
    local seq = tonumber(seqs[n])
    if bytes > most and seq ~= (step > 0 and from or to) then
      if step > 0 then to = seq - 1 else from = seq + 1 end
      return {1, from, 1, {}, found, to, 0}
    end
    found[#found + 1] = state
  end
  return {1, from, more and 1 or 0, {}, found, to, border and 1 or 0}
end

local function read(bucket, conversation, user, group, range, seq, limit, most)
  local tag = '{' .. bucket .. '}'
  local r = call('HMGET', tag .. 'c:' .. conversation, 'lb', 'm', 'v', 'lg')
  local base, since = tonumber(r[1]) or 0, 0
  if group == '1' then
    local there, last = is_member(r[2], user)
    if not there then return {0, 0, 0, {}, {}, 0, 0} end
    since = tonumber(match(r[2], '^(%d+)', last + 1))
  end
  local l = tag .. 'l:' .. conversation
  local head = base + call('LLEN', l)
  local gone = tonumber(r[4]) or base
  local lowest = since > gone and since + 1 or gone + 1
  seq, limit, most = tonumber(seq), tonumber(limit), tonumber(most)
  local from, to, more
  if range == 'a' then
    from = seq + 1 > lowest and seq + 1 or lowest
    to = from + limit - 1
    more = to < head
  else
    to = range == 'b' and seq - 1 < head and seq - 1 or head
    from = to - limit + 1
    if from < lowest then from = lowest end
    more = from > lowest and to >= from
  end
  if to > head then to = head end
  -- A huge `from` could not be returned as a number.
  if to < from then return {1, 0, more and 1 or 0, {}, {}, 0, 0} end
  if range == 'a' and from <= base then
    return archived(tag, conversation, from, to < base and to or base, 1, most, more or to > base, to > base)
  elseif to <= base then
    return archived(tag, conversation, from, to, -1, most, more)
  end
  local border = from <= base
  if border then from, more = base + 1, true end
  local amended = {}
  if r[3] then
    for _, one in ipairs(call('ZRANGEBYSCORE', tag .. 'z:' .. conversation, from, to)) do amended[tonumber(one)] = true end
  end
  -- A few at a time, in the direction of reading, so that what does not fit is
  -- not read.
  local messages, found, bytes, step = {}, {}, 0, range == 'a' and 1 or -1
  local at, last = from, to
  if step < 0 then at, last = to, from end
  while (last - at) * step >= 0 do
    local far = at + step * (FEW - 1)
    if (far - last) * step > 0 then far = last end
    local low, high = math.min(at, far), math.max(at, far)
    local some = call('LRANGE', l, low - base - 1, high - base - 1)
    while (far - at) * step >= 0 do
      local entry, state = some[at - low + 1], nil
      bytes = bytes + #entry + BESIDE
      if amended[at] then
        state = state_of(tag, conversation, at)
        bytes = bytes + weight_of(state)
      end
      if bytes > most and #messages > 0 then
        return page(messages, found, at - step, step, true)
      end
      messages[#messages + 1] = entry
      found[#found + 1] = state
      at = at + step
    end
  end
  return page(messages, found, last, step, more, border)
end

local results = {}
for at = 1, #ARGV, 8 do results[#results + 1] = read(unpack(ARGV, at, at + 7)) end
return results
