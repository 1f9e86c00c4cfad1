-- Locations: see `sessions.lua`. The field `e` of the record has the time in ms
-- when the last session ended.
local EACH = '([^ ]+) ([^ ]+) ([^;]+);'
-- The length of a node's lease, in ms: a dead node renewed it at least this
-- long ago.
local LEASE = 10000

-- Writes the locations that are left. If there are none, the last session ended
-- `ago` ms ago.
local function write_locations(u, s, base, fp, list, ago)
  local text = table.concat(list)
  if text == '' then
    local t = redis.call('TIME')
    redis.call('HSET', u, 'e', t[1] * 1000 + math.floor(t[2] / 1000) - ago)
  end
  redis.call('SET', s, with_sessions(base, fp, text))
end

-- Removes the locations of which `is_gone(session, node)` is true. Returns
-- whether there were any, and what is left.
local function remove_locations(bucket, user, ago, is_gone)
  local tag = '{' .. bucket .. '}'
  local s = tag .. 's:' .. user
  local base, fp, locations = sessions_of(s)
  local kept, gone = {}, false
  for session, device, node in string.gmatch(locations, EACH) do
    if is_gone(session, node) then
      gone = true
    else
      kept[#kept + 1] = session .. ' ' .. device .. ' ' .. node .. ';'
    end
  end
  if gone then write_locations(tag .. 'u:' .. user, s, base, fp, kept, ago) end
  return gone, table.concat(kept)
end
