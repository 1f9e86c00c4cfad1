-- What a call of `post.lua` gathers.
local results, count = {}, 0   -- a row of each post that is done
local filings = 0              -- for how many members something was filed
local unheard = {}             -- ids of messages for members without a session
-- The present message, as `read_message` and `number_message` return it.
local conversation, c, l, name, prefix, seq, text, version
-- The inboxes that it was filed in.
local inboxes, filed_in = {}, 0
-- Whether what fails of the present post stays, with a note.
local needs_note
-- Of the present post, unless it is a direct message, for each member with a
-- session: the key of the inbox, the position of the event, and the locations. An
-- empty line is the end of an event.
local lines, reached = {}, 0

local function tell(i, number, locations)
  reached = reached + 1
  lines[reached] = i .. ' ' .. number .. ' ' .. locations
end

-- The row of a post that was written: the seq, the position of its last event
-- in the inbox of its author, and the lines.
local function row_of(number, own_position)
  local row = number .. ' ' .. own_position
  if reached == 0 then return row end
  row = row .. '\n' .. table.concat(lines, '\n', 1, reached)
  reached = 0
  return row
end
