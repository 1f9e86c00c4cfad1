-- Conversations that may have something to archive, of buckets that nobody else
-- works on. ARGV: the age in ms; how many of a bucket; the caller's token; for how
-- many ms a bucket is the caller's; then buckets. Returns per bucket the
-- conversations, and before them by how many ms the first one is late.
local now = now_ms()
local upto = now - tonumber(ARGV[1])
local results = {}
for at = 5, #ARGV do
  local tag, row = '{' .. ARGV[at] .. '}', {0}
  local due = call('ZRANGEBYSCORE', tag .. 'g', '-inf', upto, 'LIMIT', 0, ARGV[2])
  if #due > 0 then
    row[1] = math.max(0, upto - tonumber(call('ZSCORE', tag .. 'g', due[1])))
    if not call('GET', tag .. 'q') then
      call('SET', tag .. 'q', ARGV[3], 'PX', ARGV[4])
      for _, conversation in ipairs(due) do row[#row + 1] = conversation end
    end
  end
  results[#results + 1] = row
end
return results
