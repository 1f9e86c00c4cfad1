-- The references of a page of an inbox.

-- What an event takes beside its entry and its conversation, which the reference
-- has.
local BESIDE = 32

-- Those after a position: `limit` at most, and as many as have `most` bytes with
-- their entries, but one at least if there is one.
local function references(box, position, limit, most)
  if position >= box.head then return {} end
  local from = position - box.base
  local refs, bytes = call('LRANGE', box.i, from, from + limit - 1), 0
  for n, ref in ipairs(refs) do
    local a, b, c = byte(ref, 11, 13)
    -- Of one that is damaged nothing is read.
    bytes = bytes + (c and (a * 256 + b) * 256 + c or 0) + #ref + BESIDE
    if bytes > most and n > 1 then
      for beyond = #refs, n, -1 do refs[beyond] = nil end
      break
    end
  end
  return refs
end
