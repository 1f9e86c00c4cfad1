-- Channels: the log `y:`, a list of entries whose seq is the count of those
-- trimmed, the string `h:`, plus the place; repeat keys as conversations have
-- them; and the audience `o:`, the set of nodes that are told.
--
-- A channel whose newest publications were lost (a failover) gives their
-- numbers again: see `store::redis::channel`.

-- Opens a channel, without what is older than the bound.
local function open_channel(bucket, channel, oldest)
  local tag = '{' .. bucket .. '}'
  local ch = {tag = tag, h = tag .. 'h:' .. channel, y = tag .. 'y:' .. channel, o = tag .. 'o:' .. channel}
  ch.base, ch.len = tonumber(call('GET', ch.h)) or 0, call('LLEN', ch.y)
  local page = 0
  while ch.len > 0 do
    local old = 0
    for _, entry in ipairs(call('LRANGE', ch.y, 0, page)) do
      if entry_time(entry) >= oldest then break end
      old = old + 1
    end
    if old == 0 then break end
    cut_list(ch.y, old, base_step(ch.h, ch.base, ch.base + old))
    ch.base, ch.len, page = ch.base + old, ch.len - old, 31
  end
  ch.head = ch.base + ch.len
  return ch
end
