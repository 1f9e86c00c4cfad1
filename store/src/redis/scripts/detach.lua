-- Ends sessions. ARGV per item: bucket, user, session. Returns per item
-- whether it was there, and the locations that are left.
local results = {}
for at = 1, #ARGV, 3 do
  local u = '{' .. ARGV[at] .. '}u:' .. ARGV[at + 1]
  local kept, gone = {}, false
  for session, device, node in string.gmatch(redis.call('HGET', u, 's') or '', EACH) do
    if session == ARGV[at + 2] then
      gone = true
    else
      kept[#kept + 1] = session .. ' ' .. device .. ' ' .. node .. ';'
    end
  end
  if gone then write_locations(u, kept, 0) end
  results[#results + 1] = {gone and 1 or 0, table.concat(kept)}
end
return results
