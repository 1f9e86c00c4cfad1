-- Channels. The log `y:` is a list of entries; the seq of an entry is the
-- number of trimmed entries, which is in the string `h:`, plus its index in the
-- list. Repeat keys are kept as for conversations. The audience `o:` is the set
-- of nodes that are told of publications.
--
-- A channel that has lost its newest publications in a failover gives their
-- seqs again: see `store::redis::channel`.

-- Opens a channel, and trims entries older than `oldest`.
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
