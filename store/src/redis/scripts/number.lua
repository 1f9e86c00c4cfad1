-- Numbers a batch, for the stepwise way. ARGV: the limits, a token, then posts.
-- Notes each conversation as not filed yet: in the hash `p` of its bucket under
-- its name, and for a change that removes members also under its name and
-- version, with the time, the token and the removed members. Returns per post
-- its status, seq (for a change the head), version (for a change the one before
-- it), time and members ('' for a message in a direct conversation).
local token = arg()
local results = {}
while at <= #ARGV do
  local kind = arg()
  local new, status, seq, version, time, members, _
  -- Noted first: nothing is numbered without a note. Also for a repeat: the
  -- router that numbered it first may have died before filing.
  local function note(tag, conversation)
    new = {tag .. 'p', conversation}
    if call('HSET', new[1], conversation, now .. ' ' .. token) == 0 then new = nil end
  end
  if #kind > 1 then
    local conversation, c, l, k, name, sent, by = read_message(kind)
    local first
    note(match(c, '^{%d+}'), conversation)
    status, seq, _, version, members, first = number_message(c, l, k, name, by, sent, arg())
    time = first or sent
  else
    local p = on_demand().read_post(kind)
    local tag = '{' .. p.bucket .. '}'
    note(tag, p.conversation)
    -- Without the note nobody would know whom the change removes.
    if kind == 'c' and #p.remove > 0 then p.note = {tag .. 'p', now .. ' ' .. token .. ' '} end
    status, seq, version, members = on_demand()[kind](p, bounds)
    time = 0
  end
  if new and status ~= 'ok' and status ~= 'repeat' and status ~= 'same' then call('HDEL', unpack(new)) end
  results[#results + 1] = {status, seq, version, time, members}
end
return results
