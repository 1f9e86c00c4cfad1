-- What `clock.lua` seldom needs is there anyway.
local function rarely() return {limit_notes = limit_notes} end
