-- `clock.lua` needs this of `on_demand.lua`; here the function is there
-- already.
local function on_demand() return {limit_notes = limit_notes} end
