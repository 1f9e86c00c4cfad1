-- The locations of users. ARGV per item: bucket, user.
local keys = {}
for at = 1, #ARGV, 2 do keys[#keys + 1] = '{' .. ARGV[at] .. '}s:' .. ARGV[at + 1] end
local results = read_sessions(keys)
for n, text in ipairs(results) do results[n] = string.match(text, '^%d+ ....(.*)$') end
return results
