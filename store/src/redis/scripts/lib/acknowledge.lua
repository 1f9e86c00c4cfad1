-- What an acknowledgement of everything up to a place is about. Returns whether
-- the place is there (0 yes, 1 trimmed, 2 not), the position up to which was
-- looked (0: nothing is new), and the newest message of each conversation on
-- the way, as a list of conversations and a table of seqs.
local function unacknowledged(box, position, fp, page)
  local code = check(box, position, fp)
  local from = box.acked
  if from > box.head then from = 0 end
  if from < box.base then from = box.base end
  local newest, order = {}, {}
  if code ~= 0 or position <= from then return code, 0, order, newest end
  local upto = position
  if upto > from + page then upto = from + page end
  for _, ref in ipairs(call('LRANGE', box.i, from - box.base, upto - box.base - 1)) do
    if byte(ref, 11) == 109 then
      local seq, conversation = match(ref, '^(%d+):(.*)$', 12)
      if not newest[conversation] then order[#order + 1] = conversation end
      newest[conversation] = tonumber(seq)
    end
  end
  return code, upto, order, newest
end
