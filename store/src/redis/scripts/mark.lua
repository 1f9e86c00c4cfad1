-- Sets marks. ARGV per item: bucket, conversation, user, kind ('d' or 'r'),
-- seq, the seq up to which the user has read in any case, '1' for a group.
-- Returns per item 'advanced', 'unchanged', 'beyond' or 'no'.
local results = {}
for at = 1, #ARGV, 7 do
  local bucket, conversation, user, kind, seq, least, group = unpack(ARGV, at, at + 6)
  local tag = '{' .. bucket .. '}'
  seq = tonumber(seq)
  local status = judge(tag, conversation, user, kind, seq, tonumber(least), group == '1')
  if status == 'advanced' then set_mark(tag, conversation, user, kind, seq) end
  results[#results + 1] = status
end
return results
