-- The notes of unfiled entries that are older than ARGV[1] ms. ARGV then: per
-- item a bucket. Returns per item fields and values one after the other.
local t = redis.call('TIME')
local oldest = t[1] * 1000 + math.floor(t[2] / 1000) - tonumber(ARGV[1])
local results = {}
for at = 2, #ARGV do
  local found = {}
  local all = redis.call('HGETALL', '{' .. ARGV[at] .. '}p')
  for n = 1, #all, 2 do
    if tonumber(string.match(all[n + 1], '^%d+')) <= oldest then
      found[#found + 1] = all[n]
      found[#found + 1] = all[n + 1]
    end
  end
  results[#results + 1] = found
end
return results
