-- What acknowledgements cover. ARGV: the age of events in inboxes, the events of
-- one page, then per item
-- bucket, user, position, fingerprint, items of one user the farthest first.
-- Returns per item, as a text, whether the cursor is valid (0 yes, 1 trimmed, 2
-- no), the position up to which references were read (0: nothing is new), and
-- the newest message of each conversation among them, as conversation and seq.
local oldest, page = now_ms() - tonumber(ARGV[1]), tonumber(ARGV[2])
local results, looked = {}, {}
for at = 3, #ARGV, 4 do
  local bucket, user, position, fp = unpack(ARGV, at, at + 3)
  local box = open(bucket, user, oldest)
  -- What an item before has read is acknowledged by that item.
  if looked[user] and looked[user] > box.acked then box.acked = looked[user] end
  local code, upto, refs = unacknowledged(box, tonumber(position), fp, page)
  if upto > 0 then looked[user] = tonumber(position) end
  local row = {string.format('%d %d', code, upto)}
  each_newest(refs, function(conversation, seq) row[#row + 1] = conversation .. ' ' .. seq end)
  results[#results + 1] = table.concat(row, ' ')
end
return results
