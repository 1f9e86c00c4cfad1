-- Two hashes of repeat keys take turns, one a day, so that a key is known for
-- 24 to 48 hours: `by`, a zero byte, and the key (of an edit the message's seq
-- and a zero byte before that), each with `seq time` of what was written.
local now = now_ms()
local day = floor(now / 86400000)
local today, yesterday = format('%d', day), format('%d', day - 1)
-- Also what `k` of a conversation's record says; this, that there are keys of
-- the day before, too.
local both = today .. '+'
