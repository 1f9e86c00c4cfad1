-- What a call of `post.lua` gathers, and whom it tells.
local traces, traced = {}, arg()
if traced ~= '0' then
  for _ = 1, tonumber(traced) do
    local n = tonumber(arg())
    traces[n] = arg()
  end
end
local results, count = {}, 0   -- a row of each post that is done
local filings = 0              -- for how many members something was filed
local unheard = {}             -- ids of messages for members without a session
local doubtful = {}            -- user to ids: perhaps all its sessions are on dead nodes
local told = {}                -- the keys of the records of those who were announced to
-- The present message, as `read_message` and `number_message` return it.
local conversation, c, field, session, seq, text, version
-- For the present event: the nodes that get it, their number, and for each node
-- the targets of its announcement.
local nodes, reached, targets = {}, 0, {}

local function add_target(node, target)
  local known = targets[node]
  if known then
    targets[node] = known .. target
  else
    reached = reached + 1
    nodes[reached], targets[node] = node, target
  end
end

-- Adds the nodes of a user's sessions, except for one session (given with a
-- space after it). `target` is without the position, or '' if it is to be made
-- here.
local function add_targets(u, target, position, locations, except)
  local at = #locations
  -- The usual case is one session.
  local one = find(locations, ';', 1, true) == at
  if one and except and find(locations, except, 1, true) == 1 then return end
  if target == '' then
    local user = match(u, 'u:(.*)$')
    target = '\10' .. char(#user) .. user .. '\16'
  end
  local number = varint(position)
  target = '\34' .. char(#target + #number) .. target .. number
  told[#told + 1] = u
  if one then
    local space = find(locations, ' ', find(locations, ' ', 1, true) + 1, true)
    return add_target(sub(locations, space + 1, at - 1), target)
  end
  local seen = {}
  for session, node in string.gmatch(locations, '([^ ]+ )[^ ]+ ([^;]+);') do
    if session ~= except and not seen[node] then
      seen[node] = true
      add_target(node, target)
    end
  end
end

-- Announces the present event: its conversation, the field of the seq ('' for a
-- change), and what comes before the entry.
local function announce(conversation, number, middle, entry)
  local length, trace = varint(#conversation), traces[count + 1]
  local size = 1 + #length + #conversation + #number + #middle + #entry
  for n = 1, reached do
    local node = nodes[n]
    local target = targets[node]
    if trace then target = target .. trace end
    say(node, '\34' .. varint(size + #target) .. '\10' .. length .. conversation .. number .. middle, entry, target)
    targets[node] = false
  end
  reached = 0
end
