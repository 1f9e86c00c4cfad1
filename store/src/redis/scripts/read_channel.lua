-- Pages of channels' logs. ARGV: age, then per item bucket, channel, after,
-- limit, bytes of a page at most. Returns per item the head, the seq of the
-- first entry, and the entries: at least one if there is one.
local oldest = now_ms() - tonumber(ARGV[1])

local function read(bucket, channel, after, limit, most)
  local ch = open_channel(bucket, channel, oldest)
  local index = tonumber(after) - ch.base
  if index < 0 then index = 0 end
  limit, most = tonumber(limit), tonumber(most)
  local first, entries, bytes = ch.base + index + 1, {}, 0
  while #entries < limit and index < ch.len do
    local step = limit - #entries
    if step > 16 then step = 16 end
    for _, entry in ipairs(call('LRANGE', ch.y, index, index + step - 1)) do
      bytes = bytes + #entry
      if bytes > most and #entries > 0 then return {ch.head, first, entries} end
      entries[#entries + 1] = entry
    end
    index = index + step
  end
  -- A huge `after` could not be returned as a number.
  return {ch.head, #entries > 0 and first or 0, entries}
end

local results = {}
for at = 2, #ARGV, 5 do results[#results + 1] = read(unpack(ARGV, at, at + 4)) end
return results
