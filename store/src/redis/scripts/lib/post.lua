-- Reads the bounds and the posts from ARGV.
local at = 1
local function arg()
  at = at + 1
  return ARGV[at - 1]
end
local function read_bounds()
  local bounds = {age = tonumber(arg()), events = tonumber(arg()), messages = tonumber(arg()),
    reactions = tonumber(arg()), unheard = tonumber(arg()), now = now_ms()}
  bounds.oldest = bounds.now - bounds.age
  bounds.most = bounds.events + bounds.events / 16
  set_day(bounds.now)
  return bounds
end

-- A message is two arguments, which costs less than a dozen: this and the
-- entry. The tag of its conversation's keys, conversation, by, name of the
-- repeat key, session, time, what its references begin with, and of a direct conversation
-- its two members, each the tag of its keys, user, and where (see
-- `lib/inbox.lua`): the first one '' for a group, the second one '' for a
-- conversation with oneself.
local MESSAGE = '>Bc0Bc0Bc0Bc0Bc0Bc0c10Bc0Bc0c4Bc0Bc0c4'
local read_message = struct.unpack
