-- Numbers a batch, where filing is a step of its own. ARGV: the bounds, a
-- token, then posts. Notes each conversation as not yet filed: in the hash
-- `p` of its bucket under its name, and for a change that removes members
-- under its name and version, with the time, the token and who was removed.
-- Returns per post its status, seq (of a change the head), version (of a change
-- before it), time and members.
local bounds, token = read_bounds(), arg()
local results = {}
while at <= #ARGV do
  local p = read_post()
  local status, seq, version, time, members
  if p.kind == 'm' then
    status, seq, version, time, members = number_message(p, bounds)
    if not p.group then members = p.members end
  else
    time = 0
    status, seq, version, members = (p.kind == 'a' and number_amendment or number_change)(p, bounds)
  end
  -- Of a repeat, too: whoever made it first may not have come to filing it.
  if status == 'ok' or status == 'repeat' or status == 'same' then
    local key = '{' .. p.bucket .. '}p'
    call('HSET', key, p.conversation, bounds.now .. ' ' .. token)
    if p.kind == 'c' and #p.remove > 0 then
      local removed = {}
      for member in string.gmatch(members, '([^;]+);l') do removed[#removed + 1] = member .. ';' end
      call('HSET', key, p.conversation .. ' ' .. version + #p.entries,
        bounds.now .. ' ' .. token .. ' ' .. table.concat(removed))
    end
  end
  results[#results + 1] = {status, seq, version, time, members}
end
return results
