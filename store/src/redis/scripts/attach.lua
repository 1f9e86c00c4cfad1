-- Begins sessions, or looks up where reading starts. ARGV: the age of
-- events in inboxes; the age of all; events and bytes of a first page at most; sessions of a user at most; then per item
-- bucket, user, from ('h' head, 's' start or 'c' cursor), position,
-- fingerprint, session ('' for none), device, node. Returns per item: the start
-- and its fingerprint; reset (0 none, 1 trimmed, 2 rewritten); the head; the
-- locations that were replaced; the locations that were there before; if there
-- were none, when the last session ended and how long ago that is (empty if
-- there never was one), and the nodes that watch; whether the cursor is
-- acknowledged (0 no, 1 yes); and for a session that begins at a cursor its
-- first page, as in `read_inbox`: the references and, if they reach the head,
-- the conversations whose marks have changed.
local now = now_ms()
local inbox_oldest, oldest = now - tonumber(ARGV[1]), now - tonumber(ARGV[2])
local limit, bytes = tonumber(ARGV[3]), tonumber(ARGV[4])
local most = tonumber(ARGV[5])

-- Adds a location to the record, after earlier ones. Returns the locations that
-- it replaces: of the same device, and the oldest of a user who has too many.
local function locate(box, session, device, node)
  local replaced, kept = '', {}
  if box.locations ~= '' then
    for s, d, n in string.gmatch(box.locations, EACH) do
      local text = s .. ' ' .. d .. ' ' .. n .. ';'
      if d == device or s == session then
        if s ~= session then replaced = replaced .. text end
      else
        kept[#kept + 1] = text
      end
    end
  end
  kept[#kept + 1] = session .. ' ' .. device .. ' ' .. node .. ';'
  local over = math.max(0, #kept - most)
  if over > 0 then
    replaced = replaced .. table.concat(kept, '', 1, over)
    local newest = {}
    for n = over + 1, #kept do newest[#newest + 1] = kept[n] end
    kept = newest
  end
  write_locations(box.u, box.s, box.base, box.base_fp, kept, 0)
  return replaced
end

-- When the last session of a user who was away ended, and who watches.
local function was_away(box, bucket, user)
  local w = '{' .. bucket .. '}w:' .. user
  local watchers = call('SMEMBERS', w)
  if #watchers > 0 then call('PEXPIRE', w, WATCH) end
  if not box.ended then return {}, watchers end
  return {box.ended, math.max(0, now - box.ended)}, watchers
end

local results = {}
for at = 6, #ARGV, 8 do
  local bucket, user, from, position, fp, session, device, node = unpack(ARGV, at, at + 7)
  local box = open(bucket, user, inbox_oldest)
  local replaced, ended, watchers = '', {}, {}
  if session ~= '' then
    replaced = locate(box, session, device, node)
    if box.locations == '' then ended, watchers = was_away(box, bucket, user) end
  end
  local paged, reset, ref = session ~= '' and from ~= 'h', 0, nil
  position = tonumber(position)
  if from == 's' then
    position, fp = box.base, box.base_fp
    if position < box.rewritten then from = 'h' end
  elseif from == 'c' then
    reset, ref = check(box, position, fp)
  end
  local refs, marks, acked = {}, {}, 0
  if from == 'h' or reset ~= 0 then
    position, fp = box.head, head_fp(box)
  elseif position <= box.acked and box.acked <= box.head then
    acked = 1
  end
  if paged and reset == 0 then
    refs = references(box, position, limit, bytes)
    if position + #refs >= box.head then marks = changed(bucket, user, marks_since(ref, oldest), 0) end
  end
  results[#results + 1] = {position, fp, reset, box.head, replaced, box.locations, ended, watchers, acked, refs, marks}
end
return results
