-- What an acknowledgement is about. ARGV: age, the events of one page, then
-- per item bucket, user, position, fingerprint. Returns per item whether the
-- place is there (0 yes, 1 trimmed, 2 not), the position up to which was
-- looked, and the newest message of each conversation on the way, as
-- conversation and seq.
local oldest, page = now_ms() - tonumber(ARGV[1]), tonumber(ARGV[2])
local results = {}
for at = 3, #ARGV, 4 do
  local bucket, user, position, fp = unpack(ARGV, at, at + 3)
  local box = open(bucket, user, oldest)
  position = tonumber(position)
  local code = check(box, position, fp)
  local from = box.acked
  if from > box.head then from = 0 end
  if from < box.base then from = box.base end
  local upto = position
  local newest, order = {}, {}
  if code == 0 and position > from then
    if upto > from + page then upto = from + page end
    for _, ref in ipairs(call('LRANGE', box.i, from - box.base, upto - box.base - 1)) do
      if byte(ref, 11) == 109 then
        local seq, conversation = match(ref, '^(%d+):(.*)$', 12)
        if not newest[conversation] then order[#order + 1] = conversation end
        newest[conversation] = seq
      end
    end
  elseif code == 0 then
    upto = 0
  end
  local pairs_of = {}
  for n, conversation in ipairs(order) do
    pairs_of[2 * n - 1], pairs_of[2 * n] = conversation, newest[conversation]
  end
  results[#results + 1] = {code, upto, pairs_of}
end
return results
