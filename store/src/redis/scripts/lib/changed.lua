-- Which conversations' marks have changed, for a reader who was away.

-- Conversations whose marks one page has.
local CHANGED = 200
-- How long before a place, in ms, changes count as later: receipts gather for a
-- moment, and places have the time of a router and changes that of the store.
local SLACK = 30000

-- Those that changed since `since` (ms) and were not on the page before, which
-- ended at `after`; each with the time of the change, and one more than
-- `CHANGED` if there are more.
local function changed(bucket, user, since, after)
  since = since * 1000
  local from = after >= since and string.format('(%.0f', after) or string.format('%.0f', since)
  return call('ZRANGEBYSCORE', '{' .. bucket .. '}m:' .. user, from, '+inf', 'WITHSCORES', 'LIMIT', 0, CHANGED + 1)
end

-- From when on marks may be new to a reader who has the event `ref`; to one
-- who has none that is kept, all are.
local function marks_since(ref, oldest)
  local since = ref and time_of(ref) - SLACK
  return since and since > oldest and since or oldest
end
