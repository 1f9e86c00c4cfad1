-- Numbers and stores publications; the router announces. ARGV: age,
-- publications kept, then per item bucket, channel, by, repeat key, time, entry.
-- Returns per item 'ok' or 'repeat', seq, time, the nodes to tell, and the
-- stored entry of a repeat ('' for a new one, and if it is trimmed already); or
-- 'error' and why a command was refused: the others are done nevertheless.
local bounds = {messages = tonumber(ARGV[2])}
bounds.oldest = now - tonumber(ARGV[1])

local function broadcast(bucket, channel, by, key, time, entry)
  local tag = '{' .. bucket .. '}'
  local h, y, o = tag .. 'h:' .. channel, tag .. 'y:' .. channel, tag .. 'o:' .. channel
  local k, name = tag .. 'k:' .. channel .. ':', by .. '\0' .. key
  local seen = find_repeat(k, name)
  if seen then
    local seq, first = match(seen, '^(%d+) (%d+)')
    local index = tonumber(seq) - (tonumber(call('GET', h)) or 0) - 1
    local stands = index >= 0 and call('LINDEX', y, index) or ''
    return {'repeat', tonumber(seq), tonumber(first), call('SMEMBERS', o), stands}
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
  return {'ok', seq, tonumber(time), call('SMEMBERS', o), ''}
end

local results = {}
for at = 3, #ARGV, 6 do
  local fine, row = pcall(broadcast, unpack(ARGV, at, at + 5))
  results[#results + 1] = fine and row or {'error', type(row) == 'table' and row.err or row}
end
return results
