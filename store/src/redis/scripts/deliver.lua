-- Notes and sets `delivered` marks, then moves acknowledged positions, in one
-- call: for a single server. ARGV: age; members of the largest group in which
-- marks of others are noted; the store's incarnation to which all of it belongs;
-- the number of positions; the number of direct conversations; then for each
-- position the keys of the user's record, inbox and sessions, and the position; then, with
-- blanks between and each as one argument, for each mark in a direct conversation
-- its tag, conversation, user, seq, and the key of the other member's notes
-- (nothing in a conversation with oneself); and for each group its tag,
-- conversation, and user and seq of each mark. Returns a character for each mark,
-- '1' if it has advanced; or 'x', and nothing is done, where the store has another
-- incarnation.
if call('HGET', '{sb}incarnation', 'id') ~= ARGV[3] then return 'x' end

-- A change is noted at most this often, in seconds: `changed.lua` looks so much
-- farther back. A direct conversation has the second of the last note behind
-- the mark, as in `d:bob` = `17 1790000000`; a group has it, with the number of
-- the group's changes, in the field `n`.
local HOLDS = math.min(10, bounds.age / 4000)
local second = floor(now / 1000000)
local second_text = format(' %d', second)
-- Notes live for at least half of the age. So the first note in each such period
-- prolongs them.
local period = bounds.age / 2000

local function is_held(noted) return noted and second >= noted and second - noted < HOLDS end

-- The newest seq of a conversation.
local function head_of(c, l) return (call('HGET', c, 'lb') or 0) + call('LLEN', l) end

local function mark(tag, conversation, user, seq, m)
  local c, l, field = tag .. 'c:' .. conversation, tag .. 'l:' .. conversation, 'd:' .. user
  local old, wanted, time = call('HGET', c, field), seq + 0, ''
  if old then
    local space = find(old, ' ', 1, true)
    if space then old, time = sub(old, 1, space - 1), sub(old, space) end
    -- A mark beyond the head comes from a history that was lost.
    if wanted <= old + 0 and old + 0 <= head_of(c, l) then return '0' end
  end
  if wanted > call('LLEN', l) and wanted > head_of(c, l) then return '0' end
  local noted = time ~= '' and time + 0
  if m ~= '' and not is_held(noted) then
    local new = note_next(m, conversation)
    if new or not noted or floor(noted / period) ~= floor(second / period) then call('PEXPIRE', m, ARGV[1]) end
    time = second_text
  end
  call('HSET', c, field, seq .. time)
  return '1'
end

-- The same for several members of a group, given as user and seq of each: noted
-- once, and set with one command.
local function mark_in_group(tag, conversation, named)
  local c, fields, seqs = tag .. 'c:' .. conversation, {'lb', 'm', 'g', 'n'}, {}
  for user, seq in string.gmatch(named, '(%S+) (%d+)') do
    fields[#fields + 1], seqs[#seqs + 1] = 'd:' .. user, seq
  end
  local r = call('HMGET', c, unpack(fields))
  local head, members = (r[1] or 0) + call('LLEN', tag .. 'l:' .. conversation), r[2] or ''
  local set, done = {}, {}
  for n, seq in ipairs(seqs) do
    local old, wanted = seq_of(r[n + 4]), seq + 0
    if old > head then old = 0 end
    local since = since_of(members, sub(fields[n + 4], 3))
    local advances = since and wanted > since and wanted > old and wanted <= head
    if advances then set[#set + 1], set[#set + 2] = fields[n + 4], seq end
    done[n] = advances and '1' or '0'
  end
  if #set > 0 then
    local changes, noted = match(r[4] or '', '^(%d+) (%d+)$')
    if changes ~= (r[3] or '0') or not is_held(noted + 0) then
      -- For everyone, whoever of them comes next.
      note_for_all(members, conversation, '', 'd')
      set[#set + 1], set[#set + 2] = 'n', (r[3] or '0') .. second_text
    end
    call('HSET', c, unpack(set))
  end
  return table.concat(done)
end

local first, results = 6 + ARGV[4] * 4, {}
local groups = first + ARGV[5]
for at = first, groups - 1 do
  results[at - first + 1] = mark(match(ARGV[at], '^(%S+) (%S+) (%S+) (%d+) (%S*)$'))
end
for at = groups, #ARGV do
  results[at - first + 1] = mark_in_group(match(ARGV[at], '^(%S+) (%S+) (.*)$'))
end
keep_clock()
for at = 6, first - 1, 4 do move_position(ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3] + 0) end
return table.concat(results)
