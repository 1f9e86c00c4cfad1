-- Locations: the sessions of a user, all in the field `s` of the record, each
-- as `session device node;`. The field `e` has the time in ms when the last
-- session ended.
local EACH = '([^ ]+) ([^ ]+) ([^;]+);'
-- The length of a node's lease, in ms: a dead node renewed it at least this
-- long ago.
local LEASE = 10000

-- Writes the locations that are left. If there are none, the last session ended
-- `ago` ms ago.
local function write_locations(u, list, ago)
  local text = table.concat(list)
  if text ~= '' then
    redis.call('HSET', u, 's', text)
  else
    local t = redis.call('TIME')
    redis.call('HSET', u, 's', '', 'e', t[1] * 1000 + math.floor(t[2] / 1000) - ago)
  end
end

-- Removes the locations on these nodes, and no others.
local function sweep(bucket, user, dead)
  local u = '{' .. bucket .. '}u:' .. user
  local kept, gone = {}, false
  for session, device, node in string.gmatch(redis.call('HGET', u, 's') or '', EACH) do
    if dead[node] then
      gone = true
    else
      kept[#kept + 1] = session .. ' ' .. device .. ' ' .. node .. ';'
    end
  end
  if gone then write_locations(u, kept, LEASE) end
end
