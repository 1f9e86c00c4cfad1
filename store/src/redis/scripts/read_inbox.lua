-- Pages of references. ARGV: age, then per item bucket, user, position,
-- fingerprint, limit, session ('' for none), device. Returns per item head,
-- reset, fingerprint of the head (after a reset only), standing (0
-- registered, 1 superseded, 2 missing), and the references.
local oldest = now_ms() - tonumber(ARGV[1])
local results = {}
for at = 2, #ARGV, 7 do
  local bucket, user, position, fp, limit, session, device = unpack(ARGV, at, at + 6)
  local box = open(bucket, user, oldest)
  local standing = 0
  if session ~= '' then
    standing = 2
    for s, d in string.gmatch(box.locations, EACH) do
      if s == session then
        standing = 0
        break
      elseif d == device then
        standing = 1
      end
    end
  end
  position = tonumber(position)
  local reset = check(box, position, fp)
  if reset ~= 0 then
    results[#results + 1] = {box.head, reset, head_fp(box), standing, {}}
  else
    local from = position - box.base
    local refs = {}
    if position < box.head then refs = call('LRANGE', box.i, from, from + tonumber(limit) - 1) end
    results[#results + 1] = {box.head, 0, '', standing, refs}
  end
end
return results
