local function args(n)
  local list = {}
  for k = 1, n do list[k] = arg() end
  return list
end

-- Reads a post that is no message; `kind` was its first argument.
local function read_post(kind)
  local p = {kind = kind, bucket = arg(), conversation = arg(), by = arg()}
  if p.kind == 'a' then
    -- `who` may do it: '*' every member, 's' the sender, 'o' the sender and the
    -- group's owner and admins. `what` is done: 'e' an edit, 'x' a recall, 'r' a reaction.
    p.seq, p.who, p.what = tonumber(arg()), arg(), arg()
    p.key, p.emoji, p.on = arg(), arg(), arg() == '1'
    p.time, p.prefix, p.entry, p.members = arg(), arg(), arg(), arg()
    -- The message's sender; '' unless the archive has said it.
    p.sender = arg()
    p.group = p.members == ''
    return p
  end
  p.expect = tonumber(arg())
  if arg() == '1' then p.name = arg() end
  if arg() == '1' then p.owner = arg() end
  if arg() == '1' then p.roles = arg() end
  local n = tonumber(arg())
  p.add, p.add_buckets = args(n), args(n)
  p.remove = args(tonumber(arg()))
  n = tonumber(arg())
  p.entries, p.prefixes = args(n), args(n)
  return p
end
