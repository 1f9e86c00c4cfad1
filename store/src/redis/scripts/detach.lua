-- Ends sessions. ARGV per item: bucket, user, session. Returns per item whether
-- it was there, the locations that are left, and whether a node watches the
-- user.
local results = {}
for at = 1, #ARGV, 3 do
  local tag = '{' .. ARGV[at] .. '}'
  local u = tag .. 'u:' .. ARGV[at + 1]
  local kept, gone = {}, false
  for session, device, node in string.gmatch(redis.call('HGET', u, 's') or '', EACH) do
    if session == ARGV[at + 2] then
      gone = true
    else
      kept[#kept + 1] = session .. ' ' .. device .. ' ' .. node .. ';'
    end
  end
  local watched = 0
  if gone then
    write_locations(u, kept, 0)
    watched = redis.call('EXISTS', tag .. 'w:' .. ARGV[at + 1])
  end
  results[#results + 1] = {gone and 1 or 0, table.concat(kept), watched}
end
return results
