-- Begins sessions or looks places up. ARGV: age, then per item bucket, user,
-- from ('h', 's' or 'c'), position, fingerprint, session ('' for none),
-- device, node. Returns per item start, its fingerprint, reset (0 none, 1
-- trimmed, 2 rewritten), head, the locations replaced, those that were there
-- before, and where there were none, when the last one ended and how long ago
-- that is (nothing if there never was one), and the nodes that watch.
local oldest = now_ms() - tonumber(ARGV[1])
local results = {}
for at = 2, #ARGV, 8 do
  local bucket, user, from, position, fp, session, device, node = unpack(ARGV, at, at + 7)
  local box = open(bucket, user, oldest)
  local replaced, ended, watchers = '', {}, {}
  if session ~= '' then
    local kept = {}
    for s, d, n in string.gmatch(box.locations, EACH) do
      local text = s .. ' ' .. d .. ' ' .. n .. ';'
      if d == device or s == session then
        if s ~= session then replaced = replaced .. text end
      else
        kept[#kept + 1] = text
      end
    end
    kept[#kept + 1] = session .. ' ' .. device .. ' ' .. node .. ';'
    write_locations(box.u, kept, 0)
    if box.locations == '' then
      ended, watchers = absence(bucket, user)
      if #watchers > 0 then call('PEXPIRE', '{' .. bucket .. '}w:' .. user, WATCH) end
    end
  end
  local reset = 0
  position = tonumber(position)
  if from == 's' then
    position, fp = box.base, box.base_fp
    if position < box.rewritten then from = 'h' end
  elseif from == 'c' then
    reset = check(box, position, fp)
  end
  if from == 'h' or reset ~= 0 then position, fp = box.head, head_fp(box) end
  results[#results + 1] = {position, fp, reset, box.head, replaced, box.locations, ended, watchers}
end
return results
