-- Notes that the marks of conversations are about to change. ARGV: age, then
-- per item bucket, user, conversation.
local age, now = tonumber(ARGV[1]), now_us()
local results = {}
for at = 2, #ARGV, 3 do
  note(ARGV[at], ARGV[at + 1], ARGV[at + 2], now, age)
  results[#results + 1] = 1
end
return results
