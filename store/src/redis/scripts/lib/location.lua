-- Locations: the sessions of a user, all in the field `s` of its record, each
-- `session device node;`. Beside it `e`, when the last one ended, in ms.
local EACH = '([^ ]+) ([^ ]+) ([^;]+);'
-- Of a node's lease, in ms: a dead node was last heard of at least so long ago.
local LEASE = 10000

-- The last one ended `ago` ms ago, if none is left.
local function write_locations(u, list, ago)
  local text = table.concat(list)
  if text ~= '' then
    redis.call('HSET', u, 's', text)
  else
    local t = redis.call('TIME')
    redis.call('HSET', u, 's', '', 'e', t[1] * 1000 + math.floor(t[2] / 1000) - ago)
  end
end

-- Removes the locations on these nodes, and only those.
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
