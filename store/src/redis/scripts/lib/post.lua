-- Reads the bounds and the posts from ARGV.
local at = 1
local function arg()
  at = at + 1
  return ARGV[at - 1]
end
local bounds = {}
bounds.age, bounds.events, bounds.messages, bounds.reactions, bounds.unheard = cmsgpack.unpack(arg())
bounds.oldest = now - bounds.age
bounds.most, bounds.log = bounds.events + bounds.events / 16, bounds.messages + bounds.messages / 16

-- A message is two arguments, which costs less than a dozen: this and the
-- entry. It is MessagePack strings: the conversation, the keys of its record, of
-- its log and (what they begin with) of its repeat keys; the field of members'
-- records; the name of the repeat key, session, time, what comes before the
-- entry in an announcement; then of a group who made it and the reference; of a
-- direct conversation '' and of each member, its maker first, the keys of the
-- record and of the inbox and the reference, and of the second one the target
-- of the announcement. A reference is without the seq and the conversation, a
-- target without the position. Whoever is no member is sent as if to a group.
local read_message = cmsgpack.unpack
