-- The present state of amended messages, beside a conversation's log: `a:`, a
-- hash from seq to the entry of the last edit; `x:`, a sorted set of recalled
-- messages, `seq:time` by seq; `r:<conversation>:<seq>`, a sorted set of a
-- message's reactions, `user:emoji` by the version at which they were set; and
-- `z:`, a sorted set of the seqs that have any of these.

-- What amending an existing message does. Returns 'ok' and the command to run;
-- or 'same' (nothing changes, as for an edit that is a repeat), 'recalled', or
-- 'many' (it has all the reactions that it may have).
local function amend(tag, p, version, bounds, is_repeat)
  local x = tag .. 'x:' .. p.conversation
  if call('ZCOUNT', x, p.seq, p.seq) > 0 then return p.what == 'x' and 'same' or 'recalled' end
  if p.what == 'e' then
    if is_repeat then return 'same' end
    return 'ok', {'HSET', tag .. 'a:' .. p.conversation, p.seq, p.entry}
  elseif p.what == 'x' then
    return 'ok', {'ZADD', x, p.seq, p.seq .. ':' .. p.time}
  end
  local r, member = tag .. 'r:' .. p.conversation .. ':' .. p.seq, p.by .. ':' .. p.emoji
  local set = call('ZSCORE', r, member) and true or false
  if set == p.on then return 'same' end
  if not p.on then return 'ok', {'ZREM', r, member} end
  if call('ZCARD', r) >= bounds.reactions then return 'many' end
  return 'ok', {'ZADD', r, version, member}
end

-- Removes the states of the messages up to here, which are trimmed.
local function forget_states(tag, conversation, upto)
  local z = tag .. 'z:' .. conversation
  local seqs = call('ZRANGEBYSCORE', z, '-inf', upto)
  if #seqs == 0 then return end
  for _, seq in ipairs(seqs) do
    call('HDEL', tag .. 'a:' .. conversation, seq)
    call('DEL', tag .. 'r:' .. conversation .. ':' .. seq)
  end
  call('ZREMRANGEBYSCORE', tag .. 'x:' .. conversation, '-inf', upto)
  call('ZREMRANGEBYSCORE', z, '-inf', upto)
end

-- Lets the states expire with the conversation, after `age` ms.
local function expire_states(tag, conversation, age)
  for _, seq in ipairs(call('ZRANGE', tag .. 'z:' .. conversation, 0, -1)) do
    call('PEXPIRE', tag .. 'r:' .. conversation .. ':' .. seq, age)
  end
  for _, key in ipairs({'a:', 'x:', 'z:'}) do call('PEXPIRE', tag .. key .. conversation, age) end
end

-- The state of an amended message: its seq, the last edit ('' for none), the
-- time of the recall ('0' for none), and the reactions.
local function state_of(tag, conversation, seq)
  local recalled = call('ZRANGEBYSCORE', tag .. 'x:' .. conversation, seq, seq)[1]
  return {seq, call('HGET', tag .. 'a:' .. conversation, seq) or '', recalled and match(recalled, ':(%d+)$') or '0',
    call('ZRANGE', tag .. 'r:' .. conversation .. ':' .. seq, 0, -1)}
end
