-- Finds what an acknowledgement of everything up to a position covers. Returns
-- whether the cursor is valid (0 yes, 1 trimmed, 2 no), the position up to
-- which references were read (0: nothing is new), and these references.
local function unacknowledged(box, position, fp, page)
  local code = check(box, position, fp)
  local from = box.acked
  if from > box.head then from = 0 end
  if from < box.base then from = box.base end
  if code ~= 0 or position <= from then return code, 0, {} end
  local upto = position
  if upto > from + page then upto = from + page end
  return code, upto, call('LRANGE', box.i, from - box.base, upto - box.base - 1)
end

-- Calls `give` with the newest message of each conversation among references:
-- the conversation, and the seq as a text.
local function each_newest(refs, give)
  local seen = {}
  for n = #refs, 1, -1 do
    local ref = refs[n]
    if byte(ref, 14) == 109 then
      local seq, conversation = match(ref, '^(%d+):(.*)$', 15)
      -- A damaged reference is skipped.
      if seq and not seen[conversation] then
        seen[conversation] = true
        give(conversation, seq)
      end
    end
  end
end
