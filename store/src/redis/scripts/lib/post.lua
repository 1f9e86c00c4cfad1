-- Reads the limits and the posts from ARGV.
local at = 1
local function arg()
  at = at + 1
  return ARGV[at - 1]
end
local bounds = {}
local archives
bounds.age, bounds.inbox_age, bounds.events, bounds.messages, bounds.reactions, bounds.unheard, archives = cmsgpack.unpack(arg())
bounds.oldest, bounds.inbox_oldest = now - bounds.age, now - bounds.inbox_age
-- With an archive a log is only trimmed of what was copied (see `trim.lua`).
if archives == 1 then bounds.messages, bounds.oldest = math.huge, -math.huge end
bounds.most, bounds.log = bounds.events + bounds.events / 16, bounds.messages + bounds.messages / 16

-- A message is two arguments, which is cheaper than a dozen: this one and the
-- entry. This one is MessagePack with these strings: the conversation; the keys
-- of its record and its log, and the beginning of the keys of its repeat keys;
-- the name of the repeat key; the time; the sender ('' in a direct
-- conversation); the reference up to the seq; and the key of the sender's record.
-- For a direct conversation also the key of the inbox of each member, the sender
-- first. A sender who is no member has the form for a group.
local read_message = cmsgpack.unpack
