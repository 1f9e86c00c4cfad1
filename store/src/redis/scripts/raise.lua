-- Raises conversations to what the archive has of them, after Redis has lost its last
-- writes: no number that was given is given again. ARGV per item: bucket,
-- conversation; the seq up to which the log reaches, and the archive's message
-- there; that up to which the archive reaches, and its message there; and the same
-- of versions and changes. Returns per item whether anything was raised. A list that
-- has another last entry than the archive has had new ones meanwhile: it stands.

-- Whether a list ends as the archive's does at that place.
local function ends_so(list, len, entry)
  return len == 0 or (entry ~= '' and call('LINDEX', list, -1) == entry)
end

local function raise(bucket, conversation, seq, entry, to, newest, version, change, to_version)
  seq, to, version, to_version = tonumber(seq), tonumber(to), tonumber(version), tonumber(to_version)
  local tag = '{' .. bucket .. '}'
  local c, l, e = tag .. 'c:' .. conversation, tag .. 'l:' .. conversation, tag .. 'e:' .. conversation
  local r = call('HMGET', c, 'lb', 'v', 'lg', 'eg')
  local base, len, changes, raised = tonumber(r[1]) or 0, call('LLEN', l), call('LLEN', e), 0
  if to > seq and base + len == seq and newest ~= '' and ends_so(l, len, entry) then
    -- The newest message is in the log, as always.
    call('HSET', c, 'lb', to - 1, 'lg', tonumber(r[3]) or base)
    call('DEL', l)
    call('RPUSH', l, newest)
    raised = 1
  end
  if to_version > version and (tonumber(r[2]) or 0) == version and ends_so(e, changes, change) then
    call('HSET', c, 'v', to_version, 'eg', tonumber(r[4]) or base_of_changes(version, changes))
    call('DEL', e)
    raised = 1
  end
  return raised
end

local results = {}
for at = 1, #ARGV, 9 do results[#results + 1] = raise(unpack(ARGV, at, at + 8)) end
return results
