-- What a call of `post.lua` gathers, and whom it tells.
local bounds = read_bounds()
local traces = {}
for _ = 1, tonumber(arg()) do
  local n = tonumber(arg())
  traces[n] = arg()
end
local results, count = {}, 0   -- a row of each post that is done
local unheard = {}             -- ids of messages for members without a session
local doubtful = {}            -- user to ids: perhaps all its sessions are on dead nodes
local told = {}                -- whoever was announced to: user, and the tag of its keys, by turns

-- Adds a node to those that hear of an event: `targets` has the nodes in order,
-- and of each the targets of its announcement.
local function add_target(targets, node, target)
  if targets[node] then
    targets[node] = targets[node] .. target
  else
    targets[#targets + 1], targets[node] = node, target
  end
end

-- Adds the nodes of a user's sessions, but for one session.
local function add_targets(targets, tag, user, position, locations, except)
  local at = #locations
  -- Nearly always there is one session.
  local one = find(locations, ';', 1, true) == at
  if one and except and find(locations, except .. ' ', 1, true) == 1 then return end
  local number = varint(position)
  local target = '\34' .. char(#user + #number + 3) .. '\10' .. char(#user) .. user .. '\16' .. number
  local n = #told
  told[n + 1], told[n + 2] = user, tag
  if one then
    local space = find(locations, ' ', find(locations, ' ', 1, true) + 1, true)
    return add_target(targets, sub(locations, space + 1, at - 1), target)
  end
  local seen = {}
  for session, node in string.gmatch(locations, '([^ ]+) [^ ]+ ([^;]+);') do
    if session ~= except and not seen[node] then
      seen[node] = true
      add_target(targets, node, target)
    end
  end
end

-- Announces an event; `seq` is 0 for a change.
local function announce(targets, conversation, seq, entry)
  local head = field('\10', conversation) .. (seq > 0 and '\16' .. varint(seq) or '') .. '\26' .. varint(#entry)
  local trace = traces[count + 1]
  for n = 1, #targets do
    local target = targets[targets[n]]
    if trace then target = target .. trace end
    say(targets[n], '\34' .. varint(#head + #entry + #target) .. head, entry, target)
  end
end
