-- The heads of inboxes. ARGV: the age of events in inboxes, then per item bucket,
-- user. Returns per item the head and its fingerprint.
local oldest = now_ms() - tonumber(ARGV[1])
local results = {}
for at = 2, #ARGV, 2 do
  local box = open(ARGV[at], ARGV[at + 1], oldest)
  results[#results + 1] = {box.head, head_fp(box)}
end
return results
