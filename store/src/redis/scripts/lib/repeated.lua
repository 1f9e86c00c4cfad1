-- What `number_message` returns for a repeat.
local function repeated(seen, version, members)
  local seq, first = match(seen, '^(%d+) (%d+)')
  return 'repeat', tonumber(seq), seq, version, members, first
end
