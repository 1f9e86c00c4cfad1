-- The conversations whose marks have changed, for a reader who was away.

-- The most conversations whose marks one page has.
local CHANGED = 200
-- A change this much earlier than the reader's event, in ms, counts as later:
-- receipts gather for a moment, events have the time of a router, changes that of
-- the store, and a change may have been noted 10 s before it was made
-- (`deliver.lua`).
local SLACK = 40000

-- The conversations that changed after `since` (ms) and after `after`, where
-- the page before ended; each with the time of the change, and one more than
-- `CHANGED` if there are more.
local function changed(bucket, user, since, after)
  since = since * 1000
  local from = after >= since and string.format('(%.0f', after) or string.format('%.0f', since)
  return call('ZRANGEBYSCORE', '{' .. bucket .. '}m:' .. user, from, '+inf', 'WITHSCORES', 'LIMIT', 0, CHANGED + 1)
end

-- The time from which marks may be new to a reader who has the event `ref`. To
-- a reader whose event is no longer kept, all marks may be new.
local function marks_since(ref, oldest)
  local since = ref and time_of(ref) - SLACK
  return since and since > oldest and since or oldest
end
