-- The string `s:<user>` has the base of the inbox, a blank, the fingerprint
-- there (4 bytes), and the locations of the user's sessions, each as
-- `session device node;`. The base is the position before the oldest event
-- kept.
local NO_SESSIONS = '0 \0\0\0\0'

-- After so many events an inbox is looked after: its checkpoint moves, and what is
-- too old is trimmed.
local INTERVAL = 64

-- Whether that is so of an inbox of this length, at this position.
local function is_due(len, position, bounds) return len > bounds.most or position % INTERVAL == 0 end

-- The strings of several users. One of another type is refused, which `MGET`
-- passes over.
local function read_sessions(keys)
  local all = redis.call('MGET', unpack(keys))
  for n, key in ipairs(keys) do all[n] = all[n] or redis.call('GET', key) or NO_SESSIONS end
  return all
end

-- The base, the fingerprint there, and the locations.
local function sessions_of(s)
  local base, fp, locations = string.match(redis.call('GET', s) or NO_SESSIONS, '^(%d+) (....)(.*)$')
  return tonumber(base), fp, locations
end

-- What to store.
local function with_sessions(base, fp, locations) return string.format('%d ', base) .. fp .. locations end
