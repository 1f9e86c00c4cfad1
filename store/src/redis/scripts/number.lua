-- Numbers a batch, where filing is a step of its own. ARGV: the bounds, a
-- token, then posts. Notes each conversation as not yet filed: in the hash
-- `p` of its bucket under its name, and for a change that removes members
-- under its name and version, with the time, the token and who was removed.
-- Returns per post its status, seq (of a change the head), version (of a change
-- before it), time and members (of a message in a direct conversation: '').
local token = arg()
local results = {}
while at <= #ARGV do
  local kind = arg()
  local tag, conversation, p, status, seq, version, time, members, _
  if #kind > 1 then
    local in_conversation, c, l, k, _, name, _, sent, _, by = read_message(kind)
    local first
    tag, conversation = match(c, '^{%d+}'), in_conversation
    status, seq, _, version, members, first = number_message(c, l, k, name, by, sent, arg())
    time = first or sent
  else
    p, time = rarely().read_post(kind), 0
    tag, conversation = '{' .. p.bucket .. '}', p.conversation
    -- Of whoever is in it no longer nobody would know without the note.
    if kind == 'c' and #p.remove > 0 then p.note = {tag .. 'p', now .. ' ' .. token .. ' '} end
    status, seq, version, members = rarely()[kind](p, bounds)
  end
  -- Of a repeat, too: whoever made it first may not have come to filing it.
  if status == 'ok' or status == 'repeat' or status == 'same' then
    call('HSET', tag .. 'p', conversation, now .. ' ' .. token)
  end
  results[#results + 1] = {status, seq, version, time, members}
end
return results
