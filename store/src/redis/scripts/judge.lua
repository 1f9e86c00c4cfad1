-- What setting marks would do. ARGV as for `mark.lua`. Returns per item what
-- that would return, and a group's members.
local results = {}
for at = 1, #ARGV, 7 do
  local bucket, conversation, user, kind, seq, least, group = unpack(ARGV, at, at + 6)
  local tag = '{' .. bucket .. '}'
  results[#results + 1] = {judge(tag, conversation, user, kind, tonumber(seq), tonumber(least), group == '1')}
end
return results
