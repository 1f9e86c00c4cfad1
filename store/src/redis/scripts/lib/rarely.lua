-- What is seldom needed is made when it is, as each call would make all those
-- functions anew. `script.rs` puts it into `make`.
local make, made

local function rarely()
  made = made or make()
  return made
end
