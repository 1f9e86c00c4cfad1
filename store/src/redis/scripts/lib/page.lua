-- The references of a page of an inbox.

-- The bytes of an event besides its entry and its conversation, which is in the
-- reference.
local BESIDE = 32

-- The references after a position: at most `limit`, and with their entries at
-- most `most` bytes, but at least one if there is one.
local function references(box, position, limit, most)
  if position >= box.head then return {} end
  local from = position - box.base
  local refs, bytes = call('LRANGE', box.i, from, from + limit - 1), 0
  for n, ref in ipairs(refs) do
    local a, b, c = byte(ref, 11, 13)
    -- A damaged reference has no entry to read.
    bytes = bytes + (c and (a * 256 + b) * 256 + c or 0) + #ref + BESIDE
    if bytes > most and n > 1 then
      for beyond = #refs, n, -1 do refs[beyond] = nil end
      break
    end
  end
  return refs
end
