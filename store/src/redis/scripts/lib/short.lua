-- Short names of functions, and the time.
local call, match, sub, byte, char, floor, find, format = redis.call, string.match, string.sub, string.byte,
  string.char, math.floor, string.find, string.format

local function now_ms()
  local t = call('TIME')
  return t[1] * 1000 + floor(t[2] / 1000)
end
