-- Reads the limits and the posts from ARGV.
local at = 1
local function arg()
  at = at + 1
  return ARGV[at - 1]
end
local bounds = {}
bounds.age, bounds.events, bounds.messages, bounds.reactions, bounds.unheard = cmsgpack.unpack(arg())
bounds.oldest = now - bounds.age
bounds.most, bounds.log = bounds.events + bounds.events / 16, bounds.messages + bounds.messages / 16

-- A message is two arguments, which is cheaper than a dozen: this one and the
-- entry. This one is MessagePack with these strings: the conversation; the keys
-- of its record and its log, and the beginning of the keys of its repeat keys;
-- the field of members' records; the name of the repeat key; the time. Then for
-- a group: the sender and the reference. For a direct conversation: '', and for
-- each member, the sender first, the keys of the record and the inbox, and the
-- reference. A reference is without seq and conversation. A sender who is no
-- member has the form for a group.
local read_message = cmsgpack.unpack
