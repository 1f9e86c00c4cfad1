-- The store's incarnation. ARGV: a new id, the replication ids of the primaries,
-- the major and the minor of the form of what this release stores. Returns id and
-- count. Or 'form' and the form of the data, if this release does not read it.
--
-- Id and count are new when another primary replies than before, since its
-- history may lack the last writes. (The id is new, too, because the last count
-- may be among what was lost.) A router may know only some of them, while it
-- connects or one is away: that alone says nothing.
--
-- 'version' is the major, 'minor' the highest minor that ever wrote here: none
-- where only releases did that said none. The data of the next minor can be read.
local key = '{sb}incarnation'
local r = redis.call('HMGET', key, 'id', 'count', 'primaries', 'version', 'minor')
local minor, own = tonumber(r[5]) or 0, tonumber(ARGV[4])
if r[1] and (r[4] ~= ARGV[3] or minor > own + 1) then
  return {'form', (r[4] or '1') .. '.' .. minor}
end
if minor < own then redis.call('HSET', key, 'minor', ARGV[4]) end
local is_known = r[1] and r[3]
for id in string.gmatch(ARGV[2], '[^,]+') do
  is_known = is_known and string.find(r[3], id, 1, true)
end
if is_known then return {r[1], r[2]} end
local count = (tonumber(r[2]) or 0) + 1
redis.call('HSET', key, 'id', ARGV[1], 'count', count, 'primaries', ARGV[2],
  'version', ARGV[3])
return {ARGV[1], tostring(count)}
