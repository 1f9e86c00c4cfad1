-- Pages of references. ARGV: the age of events in
-- inboxes; the age of all; then per item bucket, user, position,
-- fingerprint, limit, bytes of the page at most, session ('' for none), device;
-- and of the marks that are wanted: the mode ('' none, 'p' since shortly before
-- a cursor, 'w' within a time), the cursor's position or the time in ms, the
-- cursor's fingerprint, and where to go on. Returns per item the head, reset,
-- the fingerprint of the head (after a reset only), standing (0 registered, 1
-- superseded, 2 missing), the references, and with the page that reaches the
-- head the conversations whose marks have changed, each with the time of the
-- change: one more than `CHANGED` if there are more.
local age = tonumber(ARGV[2])
local inbox_oldest, oldest = now_ms() - tonumber(ARGV[1]), now_ms() - age

local function since_of_marks(box, mode, since, fp)
  since = tonumber(since)
  if mode == 'w' then return math.max(oldest, oldest + age - since) end
  if since <= box.base then return oldest end
  local code, ref = check(box, since, fp)
  return marks_since(code == 0 and ref, oldest)
end

local results = {}
for at = 3, #ARGV, 12 do
  local bucket, user, position, fp, limit, most, session, device, mode, since, since_fp, after =
    unpack(ARGV, at, at + 11)
  local box = open(bucket, user, inbox_oldest)
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
    local refs, marks = references(box, position, tonumber(limit), tonumber(most)), {}
    if mode ~= '' and position + #refs >= box.head then
      marks = changed(bucket, user, since_of_marks(box, mode, since, since_fp), tonumber(after))
    end
    results[#results + 1] = {box.head, 0, '', standing, refs, marks}
  end
end
return results
