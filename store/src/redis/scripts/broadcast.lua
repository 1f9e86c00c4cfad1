-- Numbers and stores publications, and on a single server announces them. ARGV:
-- age, publications kept, whether to announce ('1'), then per item bucket,
-- channel, by, repeat key, time, entry. Returns per item 'ok' or 'repeat', seq,
-- time and, if it is not announced here, the nodes to tell and the stored entry
-- ('' if it is trimmed already).
local bounds = {messages = tonumber(ARGV[2])}
bounds.oldest = now - tonumber(ARGV[1])
local here = ARGV[3] == '1'
local told = {}   -- node to the audiences that it is in

local function announce(channel, o, seq, entry)
  local publication = field('\66', field('\10', channel) .. '\16' .. varint(seq) .. field('\26', entry))
  for _, node in ipairs(call('SMEMBERS', o)) do
    say(node, publication)
    told[node] = told[node] or {}
    told[node][o] = true
  end
end

local function broadcast(bucket, channel, by, key, time, entry)
  local tag = '{' .. bucket .. '}'
  local h, y, o = tag .. 'h:' .. channel, tag .. 'y:' .. channel, tag .. 'o:' .. channel
  local k, name = tag .. 'k:' .. channel .. ':', by .. '\0' .. key
  local seen = find_repeat(k, name)
  if seen then
    local seq, first = match(seen, '^(%d+) (%d+)')
    local index = tonumber(seq) - (tonumber(call('GET', h)) or 0) - 1
    local stands = index >= 0 and call('LINDEX', y, index) or ''
    -- A repeat is announced again: the first call may not have announced it.
    -- Subscribers recognise it by its seq.
    if here and stands ~= '' then announce(channel, o, tonumber(seq), stands) end
    return {'repeat', tonumber(seq), tonumber(first), here and {} or call('SMEMBERS', o), stands}
  end
  local first, base = call('HLEN', k .. today) == 0, tonumber(call('GET', h)) or 0
  local len = call('RPUSH', y, entry)
  local seq = base + len
  local noted = redis.pcall('HSET', k .. today, name, format('%d', seq) .. ' ' .. time)
  if type(noted) == 'table' then
    take_back(y)
    error(noted)
  end
  if first then begin_day(k .. today) end
  local old = beyond(y, len, bounds)
  if old > 0 then cut_list(y, old, base_step(h, base, base + old)) end
  if not here then return {'ok', seq, tonumber(time), call('SMEMBERS', o), entry} end
  announce(channel, o, seq, entry)
  return {'ok', seq, tonumber(time), {}, ''}
end

local results = {}
for at = 4, #ARGV, 6 do results[#results + 1] = broadcast(unpack(ARGV, at, at + 5)) end
if #order > 0 then
  publish(call('HMGET', '{sb}incarnation', 'id', 'count'), now, function(node)
    for o in pairs(told[node]) do call('SREM', o, node) end
  end)
end
return results
