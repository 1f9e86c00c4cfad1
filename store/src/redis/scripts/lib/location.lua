-- Locations: the sessions of a user, all in the field `s` of its record, each
-- `session device node;`.
local EACH = '([^ ]+) ([^ ]+) ([^;]+);'

local function write_locations(u, list)
  local text = table.concat(list)
  if text == '' then redis.call('HDEL', u, 's') else redis.call('HSET', u, 's', text) end
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
  if gone then write_locations(u, kept) end
end
