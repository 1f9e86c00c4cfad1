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
  local tag, conversation, p, status, seq, version, time, members, _
  if #kind > 1 then
    local in_conversation, c, l, k, _, name, sent, by = read_message(kind)
    local first
    tag, conversation = match(c, '^{%d+}'), in_conversation
    status, seq, _, version, members, first = number_message(c, l, k, name, by, sent, arg())
    time = first or sent
  else
    p, time = on_demand().read_post(kind), 0
    tag, conversation = '{' .. p.bucket .. '}', p.conversation
    -- Without the note nobody would know whom the change removes.
    if kind == 'c' and #p.remove > 0 then p.note = {tag .. 'p', now .. ' ' .. token .. ' '} end
    status, seq, version, members = on_demand()[kind](p, bounds)
  end
  -- Also for a repeat: the router that numbered it first may have died before
  -- filing.
  if status == 'ok' or status == 'repeat' or status == 'same' then
    call('HSET', tag .. 'p', conversation, now .. ' ' .. token)
  end
  results[#results + 1] = {status, seq, version, time, members}
end
return results
