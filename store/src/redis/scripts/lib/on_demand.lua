-- Functions that few calls need. A script makes all its functions anew at each
-- call, so these are made on demand. `script.rs` puts them into `make`.
local make, made

local function on_demand()
  made = made or make()
  return made
end
