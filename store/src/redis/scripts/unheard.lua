-- Adds unheard messages. ARGV: how many may wait, then the ids. Returns how
-- many were dropped.
local t = redis.call('TIME')
local ids = {}
for at = 2, #ARGV do ids[at - 1] = ARGV[at] end
return {note_unheard(ids, t[1] * 1000 + math.floor(t[2] / 1000), tonumber(ARGV[1]))}
