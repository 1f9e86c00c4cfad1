-- Notes and sets marks in one call: for a single server. ARGV: age; members of
-- the largest group in which marks of others are noted; then per item bucket,
-- conversation, user, kind ('d' or 'r'), seq, the user's bucket, and the
-- members of a direct conversation in a group's form ('' for a group). Returns
-- per item 'advanced', 'unchanged', 'beyond' or 'no'.
local results = {}
for at = 3, #ARGV, 7 do
  local bucket, conversation, user, kind, seq, own, direct = unpack(ARGV, at, at + 6)
  local tag, least = '{' .. bucket .. '}', 0
  seq = tonumber(seq)
  if kind == 'r' then
    -- Who writes has read everything up to there.
    local filed = call('HGET', '{' .. own .. '}u:' .. user, 'f:' .. conversation)
    least = filed and tonumber(match(filed, '^%d+ %d+ %d+ (%d+)')) or 0
  end
  local status, members = judge(tag, conversation, user, kind, seq, least, direct == '')
  if status == 'advanced' then
    if direct ~= '' then members = direct end
    note_for_all(members, conversation, user, kind)
    set_mark(tag, conversation, user, kind, seq)
  end
  results[#results + 1] = status
end
keep_clock()
return results
