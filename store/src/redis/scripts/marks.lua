-- The marks of conversations that a reader is told of. ARGV: members of the
-- largest group in which marks of others are returned; then per item bucket,
-- conversation, reader, and the other member of a direct conversation ('' for a
-- group). Returns per item user, kind and seq of each mark, one after the
-- other.
local most = tonumber(ARGV[1])

local function read(bucket, conversation, reader, other)
  local tag = '{' .. bucket .. '}'
  local c = tag .. 'c:' .. conversation
  local r = call('HMGET', c, 'lb', 'm')
  local others, fields = {}, {}
  if other == '' then
    if not since_of(r[2] or '', reader) then return {} end
    for user in string.gmatch(r[2], ',([^:]+):') do others[#others + 1] = user end
    if #others > most then others = {} end
  elseif other ~= reader then
    others[1] = other
  end
  local function field(kind, user) fields[#fields + 1] = kind .. ':' .. user end
  field('r', reader)
  for _, user in ipairs(others) do
    if user ~= reader then
      field('d', user)
      field('r', user)
    end
  end
  local head = (tonumber(r[1]) or 0) + call('LLEN', tag .. 'l:' .. conversation)
  local marks = {}
  -- Two hundred fields fit on Lua's stack, and many more would.
  for n, seq in ipairs(call('HMGET', c, unpack(fields))) do
    seq = seq_of(seq)
    -- A mark beyond the head comes from a history that was lost.
    if seq > 0 and head > 0 then
      marks[#marks + 1], marks[#marks + 2] = sub(fields[n], 3), sub(fields[n], 1, 1)
      marks[#marks + 1] = seq < head and seq or head
    end
  end
  return marks
end

local results = {}
for at = 2, #ARGV, 4 do results[#results + 1] = {read(unpack(ARGV, at, at + 3))} end
return results
