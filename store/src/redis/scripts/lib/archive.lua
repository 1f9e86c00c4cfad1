-- What an archive holds of a conversation. Its record `c:` has: `lb`, the seq up to
-- which messages have left the log; `lg`, up to which they are gone for good (no
-- `lg`: as `lb`). Those in between are in the archive. Changes are the same: they
-- have left the list up to the version minus its length, and are gone up to `eg`.
-- The newest message stays in the log, so that whoever lists conversations needs no
-- archive. What amendments made of messages stays here until they are gone.
--
-- The sorted set `g` of a bucket has the conversations with something to archive, by
-- a time (ms) before which there is nothing old enough.

-- The base of a list of changes.
local function base_of_changes(version, len) return version > len and version - len or 0 end

-- The time of an element of the list of changes.
local function change_time(element) return entry_time(match(element, '^%d+:%d+:(.*)$') or '') end
