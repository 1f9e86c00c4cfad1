-- Reads the bounds and the posts from ARGV.
local at = 1
local function arg()
  at = at + 1
  return ARGV[at - 1]
end
local function args(n)
  local list = {}
  for k = 1, n do list[k] = arg() end
  return list
end

local function read_bounds()
  local bounds = {age = tonumber(arg()), events = tonumber(arg()), messages = tonumber(arg()),
    reactions = tonumber(arg()), unheard = tonumber(arg()), now = now_ms()}
  bounds.oldest = bounds.now - bounds.age
  return bounds
end

local function read_post()
  local p = {kind = arg(), bucket = arg(), conversation = arg(), by = arg()}
  if p.kind == 'm' then
    p.key, p.session, p.time, p.prefix, p.entry = arg(), arg(), arg(), arg(), arg()
    -- The members of a direct conversation, in the form of a group's.
    p.members = arg()
    p.group = p.members == ''
    return p
  end
  if p.kind == 'a' then
    -- Who may: '*' anyone, 's' the sender, 'o' the sender and the group's owner.
    -- What becomes of the message: 'e' an edit, 'x' a recall, 'r' a reaction.
    p.seq, p.who, p.what = tonumber(arg()), arg(), arg()
    p.key, p.emoji, p.on = arg(), arg(), arg() == '1'
    p.time, p.prefix, p.entry, p.members = arg(), arg(), arg(), arg()
    p.group = p.members == ''
    return p
  end
  p.expect = tonumber(arg())
  if arg() == '1' then p.name = arg() end
  if arg() == '1' then p.owner = arg() end
  local n = tonumber(arg())
  p.add, p.add_buckets = args(n), args(n)
  p.remove = args(tonumber(arg()))
  n = tonumber(arg())
  p.entries, p.prefixes = args(n), args(n)
  return p
end
