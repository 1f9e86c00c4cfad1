-- Takes one-time tickets. ARGV per item: bucket, ticket, by whom. Returns per
-- item whether the ticket is theirs, and what it stands for.
local results = {}
for at = 1, #ARGV, 3 do
  local key, by = '{' .. ARGV[at] .. '}t:' .. ARGV[at + 1], ARGV[at + 2]
  local found = redis.call('HMGET', key, 'grant', 'by')
  local grant, taken = found[1], found[2]
  if grant and not taken then
    redis.call('HSET', key, 'by', by)
    taken = by
  end
  local theirs = grant and taken == by
  results[#results + 1] = {theirs and 1 or 0, theirs and grant or ''}
end
return results
