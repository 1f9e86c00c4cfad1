-- Repeat keys are in one hash a day, which expires after two, so that a key is
-- known for 24 to 48 hours. A field is the user, a zero byte, and the key (for
-- an edit the message's seq and a zero byte come before the key); its value is
-- `seq time` of what was written.
local now = now_ms()
local day = floor(now / 86400000)
local today, yesterday = format('%d', day), format('%d', day - 1)
-- Values of the field `k` of a conversation's record: `today`, or `both` if the
-- day before has keys, too.
local both = today .. '+'
