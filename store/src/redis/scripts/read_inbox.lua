-- Pages of references. ARGV: age, then per item bucket, user, position,
-- fingerprint, limit, session ('' for none), device; the marks that are wanted:
-- '' none, 'p' since shortly before a place, 'w' for so many ms; the place's
-- position or the ms, the place's fingerprint, and where to go on. Returns per
-- item head, reset, fingerprint of the head (after a reset only), standing (0
-- registered, 1 superseded, 2 missing), the references, and with the page that
-- reaches the head the conversations whose marks have changed, each with the
-- time of the change: one more than `CHANGED` if there are more.
local age = tonumber(ARGV[1])
local oldest = now_ms() - age
-- Conversations whose marks one page has.
local CHANGED = 200
-- How long before a place, in ms, changes count as later: receipts gather for a
-- moment, and places have the time of a router and changes that of the store.
local SLACK = 30000

local function changed(box, bucket, user, mode, place, fp, after)
  local since
  place = tonumber(place)
  if mode == 'w' then
    since = oldest + age - place
  elseif place > box.base and check(box, place, fp) == 0 then
    since = time_of(call('LINDEX', box.i, place - box.base - 1)) - SLACK
  end
  if not since or since < oldest then since = oldest end
  since, after = since * 1000, tonumber(after)
  local from = after >= since and string.format('(%.0f', after) or string.format('%.0f', since)
  return call('ZRANGEBYSCORE', '{' .. bucket .. '}m:' .. user, from, '+inf', 'WITHSCORES', 'LIMIT', 0, CHANGED + 1)
end

local results = {}
for at = 2, #ARGV, 11 do
  local bucket, user, position, fp, limit, session, device, mode, place, place_fp, after = unpack(ARGV, at, at + 10)
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
    results[#results + 1] = {box.head, reset, head_fp(box), standing, {}, {}}
  else
    local from = position - box.base
    local refs, marks = {}, {}
    if position < box.head then refs = call('LRANGE', box.i, from, from + tonumber(limit) - 1) end
    if mode ~= '' and position + #refs >= box.head then
      marks = changed(box, bucket, user, mode, place, place_fp, after)
    end
    results[#results + 1] = {box.head, 0, '', standing, refs, marks}
  end
end
return results
