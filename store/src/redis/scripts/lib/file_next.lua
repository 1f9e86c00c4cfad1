-- Files a message that comes right after what is filed, which nearly every one
-- does: `before` and `filed` are how `field` of the record begins before and
-- after it, `ref` is the reference, `own` the seq if it is the member's own.
-- Returns position, locations and the position's text, or nothing if it does not
-- come next.
local function file_next(tag, user, field, before, filed, ref, own, bounds)
  local u, i = tag .. 'u:' .. user, tag .. 'i:' .. user
  local r = call('HMGET', u, 'b', 's', field)
  local last = r[3] or '0 0 0 0'
  if find(last, before, 1, true) ~= 1 then return nil end
  local len = call('RPUSH', i, ref)
  local base = r[1] and tonumber(match(r[1], '^%d+')) or 0
  local position = format('%d', base + len)
  call('HSET', u, field, filed .. position .. ' ' .. (own or match(last, '^%d+ (%d+)', #before + 1)))
  if len > bounds.most then rarely().cut(u, i, base, len - bounds.events) end
  return base + len, r[2] or '', position
end
